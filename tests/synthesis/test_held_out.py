"""Questions from another hand than the language model's, to test on."""

from __future__ import annotations

from embexp.data.records import HELD_OUT, Chunk, Document
from embexp.synthesis.extractive import held_out_pairs
from embexp.synthesis.rag import RagSynthesis
from tests.synthesis.synthesis_fakes import FakeLLM, knowledge

TEXT = (
    "The pump moves water from the well to the tank. A worn seal makes the pump leak water at the well. "
    "Paint keeps the iron of the tank dry. Close the valve of the pump before you change the worn seal."
)


def manual(documents: int) -> list[Chunk]:
    return [
        Chunk(id=f"c{at}", document_id=f"d{at}", text=TEXT.replace("pump", f"pump{at}"))
        for at in range(documents)
    ]


def test_each_document_gives_a_sentence_of_its_own_that_leaves_its_passage() -> None:
    pairs = list(held_out_pairs(manual(3), {}, seed=0))
    assert [pair.document_id for pair in pairs] != []
    assert {pair.document_id for pair in pairs} == {"d0", "d1", "d2"}
    for pair in pairs:
        assert pair.query_type == "sentence"
        assert pair.generator.kind == HELD_OUT
        assert pair.generator.model is None
        assert pair.query in manual(3)[int(pair.document_id[1:])].text
        assert pair.query not in pair.positive


def test_a_summary_goes_before_a_sentence() -> None:
    documents = {"d0": Document(id="d0", text="", metadata={"summary": "How to mend a dripping pump"})}
    pair, *_ = held_out_pairs(manual(1), documents, seed=0)
    assert (pair.query_type, pair.query) == ("summary", "How to mend a dripping pump")


def test_rag_adds_them_after_the_accepted_pairs_and_counts_them_apart() -> None:
    chunks = [*knowledge(), *manual(4)]
    synthesis = RagSynthesis(target=10, seed=1)
    pairs = list(synthesis.pairs(chunks, {}, llm=FakeLLM()))
    kinds = [pair.generator.kind for pair in pairs]
    assert kinds[:10] == ["rag"] * 10
    assert set(kinds[10:]) == {HELD_OUT}
    report = synthesis.report()
    assert (report["accepted"], report["held_out"]) == (10, len(pairs) - 10)


def test_they_can_be_left_out() -> None:
    synthesis = RagSynthesis(target=5, held_out=False)
    assert len(list(synthesis.pairs(manual(4) + knowledge(), {}, llm=FakeLLM()))) == 5
    assert synthesis.report()["held_out"] == 0
