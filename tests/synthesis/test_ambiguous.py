from __future__ import annotations

from embexp.data.records import Chunk, Document
from embexp.synthesis.extractive import Extractive

BODY = "Writes what the formatter returns to the stream and flushes it before it goes on"


def test_a_summary_of_several_documents_asks_for_none_of_them() -> None:
    summaries = {"a": "Emit a record.", "b": "Emit a  record.", "c": "Open the log file again."}
    documents = {
        name: Document(id=name, text="", title=name, metadata={"summary": text})
        for name, text in summaries.items()
    }
    chunks = [Chunk(id=f"{name}0", document_id=name, text=f"{BODY} in {name}") for name in documents]
    chunks.append(Chunk(id="d0", document_id="d", text="Open the log file again. It must be closed."))
    assert not list(Extractive(query_types=["summary"]).pairs([*chunks], documents))
    chunks.pop()
    pairs = list(Extractive(query_types=["summary"]).pairs(chunks, documents))
    assert [(pair.document_id, pair.query) for pair in pairs] == [("c", "Open the log file again.")]
