from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pytest

from embexp.data.links import links_metadata
from embexp.data.records import EXTRACTED, HELD_OUT, Chunk, Document
from embexp.data.words import words
from embexp.errors import ConfigError
from embexp.synthesis.extractive import _KINDS, Extractive, _shared_headings, held_out_pairs
from embexp.synthesis.query_text import key
from embexp.synthesis.rag import RagSynthesis
from embexp.synthesis.synthesis import NoSynthesis
from tests.synthesis.synthesis_fakes import FakeLLM
from tests.synthesis.synthesis_fakes import knowledge as fake_knowledge

ANIMALS = ["walrus", "zebra", "otter", "heron", "lynx", "gecko", "bison", "raven", "moose", "tapir"]


def body(animal):
    return (
        f"The {animal} eats fresh leaves every morning in spring. Each {animal} sleeps near the quiet river "
        f"at night. Keepers feed the {animal} with leaves and water from the river twice a day."
    )


def knowledge(*, summaries=True, chunks_each=1, animals=ANIMALS):
    documents, chunks = {}, []
    for animal in animals:
        metadata = {"summary": f"How keepers look after a {animal}."} if summaries else {}
        documents[animal] = Document(id=animal, text="", title=f"Caring for a {animal}", metadata=metadata)
        for position in range(chunks_each):
            title = f"Caring for a {animal}" + (f" > Feeding {animal} part {position}" if position else "")
            text = body(f"{animal}{position or ''}")
            chunks.append(Chunk(f"{animal}-{position}", animal, text, title, position))
    return chunks, documents


def written(chunks, documents, **settings):
    return list(Extractive(**settings).pairs(chunks, documents))


def of_kind(kind, chunks, documents):
    return written(chunks, documents, query_types=[kind])


def test_summary_asks_for_the_first_chunk_as_it_is():
    chunks, documents = knowledge(chunks_each=2)
    pairs = of_kind("summary", chunks, documents)
    assert len(pairs) == 10
    walrus = next(pair for pair in pairs if pair.document_id == "walrus")
    assert (walrus.query, walrus.chunk_id) == ("How keepers look after a walrus.", "walrus-0")
    assert walrus.positive == next(chunk.passage for chunk in chunks if chunk.id == "walrus-0")
    assert walrus.generator.kind == "extractive"


def test_a_language_model_adds_its_pairs_to_those_cut_out() -> None:
    chunks = fake_knowledge()
    alone = written(chunks, {})
    rag = RagSynthesis(target=12, held_out=False)
    both = Extractive(written=rag)
    pairs = list(both.pairs(chunks, {}, llm=FakeLLM()))
    assert pairs[: len(alone)] == alone
    assert {pair.generator.kind for pair in pairs[len(alone) :]} == {"rag"}
    assert len(pairs) == len(alone) + 12
    assert both.report() == rag.report() != {}
    assert both.plan(chunks, chat=True).target == 12
    assert both.fingerprint() == rag.fingerprint() != ""


def test_title_asks_for_the_body_without_it():
    chunk = Chunk(
        "c", "d", "# Red pandas\n\nThey live in trees and eat bamboo all day long there.", "Red pandas"
    )
    (pair,) = of_kind("title", [chunk], {"d": Document(id="d", text="", title="Red pandas")})
    assert pair.query == "Red pandas"
    assert pair.positive == "They live in trees and eat bamboo all day long there."


def test_heading_asks_for_the_body_under_the_headings_above_it():
    chunks, documents = knowledge(chunks_each=2, animals=["walrus"])
    (pair,) = of_kind("heading", chunks, documents)
    assert (pair.query, pair.chunk_id) == ("Feeding walrus part 1", "walrus-1")
    assert pair.positive == "Caring for a walrus\n" + body("walrus1")


def test_a_heading_that_documents_share_is_not_asked():
    chunks = [Chunk(f"c{at}", f"d{at}", body("elk"), f"Title {at} > Read more") for at in range(2)]
    assert _shared_headings(chunks) == {"read more"}
    assert of_kind("heading", chunks, {}) == []


def test_sentence_is_cut_out_of_its_chunk():
    chunks, documents = knowledge()
    for pair in of_kind("sentence", chunks, documents):
        assert key(pair.query) not in key(pair.positive)
        assert pair.positive.startswith(f"Caring for a {pair.document_id}\n")


def test_a_sentence_that_another_chunk_repeats_is_not_asked():
    text = body("elk")
    overlapping = [Chunk("c0", "d", text, position=0), Chunk("c1", "d", text, position=1)]
    assert of_kind("sentence", overlapping, {}) == []


def test_keywords_come_from_the_chunk():
    chunks, documents = knowledge()
    for pair in of_kind("keywords", chunks, documents):
        assert 3 <= len(pair.query.split()) <= 6
        assert set(pair.query.split()) <= set(key(pair.positive).split())


def test_target_is_met_and_most_queries_are_human():
    pairs = written(*knowledge(chunks_each=4), target=10, held_out_share=0.7)
    kinds = Counter(pair.query_type for pair in pairs)
    assert len(pairs) == 10
    assert kinds["summary"] == 7
    assert len({pair.document_id for pair in pairs}) == 10


def test_without_summaries_sentences_are_the_most_human_kind():
    pairs = written(*knowledge(summaries=False), target=10, held_out_share=1.0)
    assert {pair.query_type for pair in pairs} == {"sentence"}


def test_per_document_caps_a_document():
    pairs = written(*knowledge(chunks_each=5), per_document=3)
    assert Counter(pair.document_id for pair in pairs).most_common(1)[0][1] == 3
    assert len(pairs) == 30


def test_queries_are_unique():
    chunks, documents = knowledge(chunks_each=3)
    documents = {name: Document(id=name, text="", title="The same title") for name in documents}
    pairs = written(chunks, documents)
    assert len({key(pair.query) for pair in pairs}) == len(pairs)
    assert len({pair.id for pair in pairs}) == len(pairs)


def test_short_passages_are_skipped():
    chunk = Chunk("c", "d", "Too few words.", "A fine title")
    documents = {"d": Document(id="d", text="", title="A fine title")}
    assert written([chunk], documents, fallback_types=[]) == []


@pytest.mark.parametrize(
    "text", ["tar -xzf archive.tgz", "card arrival", "top up failed today", "A4-77 pump"]
)
def test_a_document_too_short_for_a_sentence_gives_some_of_its_words(text: str) -> None:
    chunks = [Chunk(str(n), str(n), f"{text} {n}") for n in range(40)]

    pairs = written(chunks, {})

    assert {pair.document_id for pair in pairs} == {chunk.id for chunk in chunks}
    assert {pair.query_type for pair in pairs} <= {"words", "span"}
    for pair in pairs:
        own = words(f"{text} {pair.document_id}")
        assert 0 < len(words(pair.query)) < len(own)
        assert set(words(pair.query)) < set(own)


def test_a_document_with_passages_long_enough_gives_no_words() -> None:
    chunks, documents = knowledge(animals=["walrus", "otter"])
    chunks.append(Chunk("short", "short", "Feed the pumas"))

    kinds = {(pair.document_id == "short", pair.query_type) for pair in written(chunks, documents)}

    assert kinds >= {(True, "words"), (False, "summary")}
    assert not kinds & {(False, "words"), (False, "span")}


def test_same_input_same_pairs_and_another_seed_another_order():
    chunks, documents = knowledge(chunks_each=2)
    first = written(chunks, documents)
    assert first == written(chunks[::-1], documents)
    assert [pair.id for pair in first] != [pair.id for pair in written(chunks, documents, seed=1)]


def test_a_document_that_is_not_handed_over_has_no_title_to_ask():
    chunks, _ = knowledge(animals=["walrus"])
    assert {pair.query_type for pair in written(chunks, {})} == {"sentence", "keywords"}


def test_no_chunks_no_pairs():
    assert written([], {}) == []


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"target": 0}, "synthesis.target is 0"),
        ({"per_document": -1}, "synthesis.per_document is -1"),
        ({"held_out_share": 1.5}, "synthesis.held_out_share is 1.5"),
        ({"query_types": []}, "query_types is empty"),
        ({"query_types": ["poem"]}, "no kind 'poem'; choose from faq, summary, title"),
        ({"held_out_types": ["poem"]}, "no kind 'poem'"),
        ({"fallback_types": ["poem"]}, "no kind 'poem'"),
    ],
)
def test_refuses_settings_that_cannot_work(settings, message):
    with pytest.raises(ConfigError, match=message):
        Extractive(**settings)


def test_none_writes_nothing():
    assert list(NoSynthesis().pairs(*knowledge())) == []


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
    chunks = [*fake_knowledge(), *manual(4)]
    synthesis = RagSynthesis(target=10, seed=1)
    pairs = list(synthesis.pairs(chunks, {}, llm=FakeLLM()))
    kinds = [pair.generator.kind for pair in pairs]
    assert kinds[:10] == ["rag"] * 10
    assert set(kinds[10:]) == {HELD_OUT}
    report = synthesis.report()
    assert (report["accepted"], report["held_out"]) == (10, len(pairs) - 10)


def test_they_can_be_left_out() -> None:
    synthesis = RagSynthesis(target=5, held_out=False)
    assert len(list(synthesis.pairs(manual(4) + fake_knowledge(), {}, llm=FakeLLM()))) == 5
    assert synthesis.report()["held_out"] == 0


@pytest.mark.parametrize("kind", ["span", "words"])
def test_spans_and_words_are_drawn_from_the_chunk_in_its_order(kind):
    chunks, documents = knowledge()
    pairs = written(chunks, documents, query_types=[kind], target=60)
    assert len(pairs) == 60
    assert len({key(pair.query) for pair in pairs}) == 60
    texts = {chunk.id: chunk for chunk in chunks}
    for pair in pairs:
        chunk = texts[pair.chunk_id]
        assert pair.positive == chunk.passage
        drawn, own = words(pair.query), words(chunk.text)
        assert 4 <= len(drawn) <= 12
        if kind == "span":
            assert " ".join(drawn) in " ".join(own)
        rest = iter(own)
        assert all(word in rest for word in drawn)  # in order: each is found after the one before


def test_short_documents_give_spans_too():
    chunks = [
        Chunk(str(n), str(n), text)
        for n, text in enumerate(["card arrival", "top up failed", "锅炉压力过高"])
    ]
    pairs = written(chunks, {}, query_types=["span"], min_passage_words=2)
    assert {pair.query for pair in pairs} >= {"card", "arrival", "top up", "up failed"}
    assert any(pair.chunk_id == "2" and " " not in pair.query for pair in pairs)


def test_a_question_in_a_faq_asks_for_its_answer():
    text = "## Is the pump loud?\n\nNo: it runs at forty decibels in a closed room with its door shut."
    chunk = Chunk("c", "d", text, "Pumps > Is the pump loud?")
    (pair,) = of_kind("faq", [chunk], {"d": Document(id="d", text=text, title="Pumps")})

    assert pair.query == "Is the pump loud?"
    assert pair.positive.startswith("Pumps\nNo: it runs at forty decibels")


def test_a_label_that_two_documents_have_is_no_term():
    def glossary(name, term):
        text = (
            f"{term}: what people of the trade call it every day.\n\nNote: this line is there in all of them."
        )
        return Chunk(f"{name}-0", name, text, "")

    chunks = [glossary("a", "Backwash"), glossary("b", "Turbidity")]
    pairs = of_kind("definition", chunks, {})

    assert sorted(pair.query for pair in pairs) == ["Backwash", "Turbidity"]
    assert all("Note: this line" in pair.positive for pair in pairs)


def test_a_comment_asks_for_the_passage_without_it():
    text = "Start it:\n\n```sh\n# Keep the pump running at night\npump start --daemon --verbose now\n```"
    (pair,) = of_kind("comment", [Chunk("c", "d", text, "Pumps")], {})

    assert pair.query == "Keep the pump running at night"
    assert "pump start" in pair.positive
    assert "Keep the pump" not in pair.positive


START = "pump.start(hours=8, verbose=False, log=None)"


@pytest.mark.parametrize(
    "comment",
    [
        'def keep(pump):\n    """\n    Keep the pump running\n    at night.\n\n    Args:\n    """',
        'def keep(pump): """Keep the pump running at night"""',
        "def keep(pump):\n    r'''Keep the pump running at night\n    :param pump: one\n    '''",
        "/**\n * Keep the pump running\n * at night.\n * @param pump one\n */",
        "/*! Keep the pump running at night\n *\n * Not by day. */",
        "/// Keep the pump running\n/// at night.",
        "/// <summary>Keep the pump running at night.</summary>",
    ],
)
def test_a_docstring_asks_for_its_code(comment: str) -> None:
    (pair,) = of_kind("comment", [Chunk("c", "d", f"{comment}\n    {START}", "Pumps")], {})

    assert pair.query == "Keep the pump running at night"
    assert START in pair.positive
    assert "Keep the" not in pair.positive


@pytest.mark.parametrize(
    "doc", ["@param pump the pump that is to be kept", ":param pump: the pump to keep", ""]
)
def test_a_docstring_without_a_sentence_asks_nothing(doc: str) -> None:
    code = f'def keep(pump):\n    """\n    {doc}\n    """\n    {START}'
    assert of_kind("comment", [Chunk("c", "d", code, "Pumps")], {}) == []


def test_code_asks_by_its_docstring_and_not_by_its_signature() -> None:
    code = f'def keep(pump, hours):\n    """Keep the pump running at night."""\n    {START}'
    (pair,) = Extractive(target=1, held_out_share=1).pairs([Chunk("c", "d", code)], {})

    assert f'""" """\n    {START}' in pair.positive
    assert (pair.query_type, pair.query) == ("comment", "Keep the pump running at night")


@pytest.mark.parametrize("rows", ["| pump | 2020 |\n|---|---|\n| A | 12 |", "pump | 2020\n\nA | 12"])
def test_a_caption_asks_for_the_passage_without_it(rows: str) -> None:
    text = f"All pumps were measured in the spring.\n\nFlow of all pumps by year\n\n{rows}"
    (pair,) = of_kind("caption", [Chunk("c", "d", text, "Pumps")], {})

    assert pair.query == "Flow of all pumps by year"
    assert "measured in the spring" in pair.positive
    assert "12" in pair.positive
    assert "Flow of all" not in pair.positive


@pytest.mark.parametrize(
    "above", ["## Flow of all the pumps", "| flow | of | pumps |", "```\nflow of all pumps"]
)
def test_what_stands_above_a_table_and_is_no_prose_is_no_caption(above: str) -> None:
    text = f"{above}\n\n| pump | year |\n|---|---|\n| A | measured in the spring of that year |"
    assert of_kind("caption", [Chunk("c", "d", text, "Pumps")], {}) == []


def linked(*links: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return query and chunk of the pairs of the links in ``guide/0.md``, ``guide/1.md`` …"""
    body = "Open the valve and wait until water comes out of the pipe in one stream."
    target = [
        Chunk("b-0", "guide/sub/b.md", body, "Pumps", 0),
        Chunk("b-1", "guide/sub/b.md", body + " Twice.", "Pumps > Bleed it!", 1),
    ]
    documents = [
        Document("guide/sub/b.md", ""),
        *(Document(f"guide/{at}.md", "", metadata=links_metadata(each)) for at, each in enumerate(links)),
    ]
    pairs = of_kind("link", target, {document.id: document for document in documents})
    return [(pair.query, pair.chunk_id or "") for pair in pairs if pair.query_type == "link"]


@pytest.mark.parametrize(
    ("address", "chunk"),
    [
        ("sub/b.md", "b-0"),
        ("sub/b.md#bleed-it", "b-1"),
        ("./sub/../sub/b.md#no-such-heading", "b-0"),
        ("/guide/sub/b.md", "b-0"),
        ("sub/b#bleed-it", "b-1"),
        ("../guide/sub/b.md#Bleed%20it", "b-1"),
    ],
)
def test_the_words_of_a_link_ask_for_what_it_leads_to(address: str, chunk: str) -> None:
    assert linked([("how to `bleed` a pump", address)]) == [("how to bleed a pump", chunk)]


@pytest.mark.parametrize(
    ("words", "address"),
    [
        ("how to bleed a pump", "https://example.org/sub/b.md"),
        ("how to bleed a pump", "missing.md"),
        ("how to bleed a pump", "#here"),
        ("how to bleed a pump", "0.md"),
        ("pump", "sub/b.md"),
    ],
)
def test_other_links_ask_for_nothing(words: str, address: str) -> None:
    assert linked([(words, address)]) == []


def test_words_that_lead_to_two_places_describe_neither() -> None:
    here, there = ("Read more", "sub/b.md"), ("read more", "sub/b.md#bleed-it")
    assert linked([here], [there, ("all pumps", "sub/b.md")]) == [("all pumps", "b-0")]


def test_every_kind_is_known_as_one_that_a_rule_takes_from_the_documents() -> None:
    assert set(_KINDS) == EXTRACTED
