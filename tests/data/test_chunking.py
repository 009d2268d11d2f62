from __future__ import annotations

import re
import unicodedata
from itertools import pairwise

import pytest

from embexp.data import chunking
from embexp.data.chunking import Headings, Whole, Windows, _cut, _pack, _sections, _split
from embexp.data.fences import mark_code
from embexp.data.records import Document
from embexp.data.truncation import truncation
from embexp.data.words import SENTENCE_END
from embexp.errors import ConfigError


class Words:
    """Counts a token for each word and each sign, and remembers how often it was asked."""

    def __init__(self, limit=20):
        self.limit = limit
        self.calls = 0

    def count(self, texts):
        self.calls += 1
        return [len(re.findall(r"\w+|[^\w\s]", text)) for text in texts]


class Letters(Words):
    """Counts two tokens for each letter, as byte-level tokenizers do for rare scripts."""

    def count(self, texts):
        return [2 * len(text) for text in texts]


TEXT = "\n\n".join(
    f"Paragraph {number} begins here. It has a second sentence, with a comma! And a third one?"
    for number in range(9)
)
MARKDOWN = f"Intro words.\n\n# Use\n\n{TEXT}\n\n## Deep\n\n```\n# no heading\n```\n\n# Last\n"


def words(text):
    return re.findall(r"\w+", text)


def cut(chunks, tokens):
    return truncation((chunk.passage for chunk in chunks), tokens, limit=tokens.limit).cut


def contents(chunks):
    return [(chunk.title, chunk.text) for chunk in chunks]


def test_sections_carry_the_headings_above_them():
    text = "Intro.\n\n# A\n\na\n\n### B ##\n\nb\n\n## C#\n\n# D\n\n## E\n\ne\n\n    # code\n"
    assert [(path, body.strip()) for path, body in _sections(text)] == [
        ((), "Intro."),
        (("A",), "a"),
        (("A", "B"), "b"),
        (("A",), "C#"),
        (("D", "E"), "e\n\n    # code"),
    ]


def test_a_heading_that_repeats_the_title_is_dropped():
    assert [path for path, _ in _sections("# Guide\n\na\n\n## Use\n\nb", "guide")] == [(), ("Use",)]


def test_a_fence_ends_only_with_its_own_sign():
    assert [path for path, _ in _sections("~~~\n```\n# no\n~~~\n\n# Yes\n\nb")] == [(), ("Yes",)]


def test_short_sections_are_chunks_of_their_own():
    document = Document("d", "Hello.\n\n# Use\n\nDo it.\n\n## Deep\n\nMore.", "Guide")
    chunks = Headings().chunk(document, Words())
    assert contents(chunks) == [
        ("Guide", "Hello."),
        ("Guide > Use", "Do it."),
        ("Guide > Use > Deep", "More."),
    ]
    assert [chunk.position for chunk in chunks] == [0, 1, 2]
    assert {chunk.document_id for chunk in chunks} == {"d"}


def test_a_document_that_fits_is_counted_in_one_call():
    tokens = Words()
    Headings().chunk(Document("d", "Hello.\n\n# Use\n\nDo it.", "Guide"), tokens)
    assert tokens.calls == 1


CHUNKERS = [
    Headings(),
    Headings(max_tokens=12),
    Headings(overlap=5),
    Windows(tokens=16, overlap=0),
    Windows(tokens=16, overlap=6),
]


@pytest.mark.parametrize("chunker", CHUNKERS)
@pytest.mark.parametrize("text", [TEXT, MARKDOWN, "word " * 200, "w" * 500, TEXT.replace("\n\n", " ")])
def test_nothing_is_lost_and_everything_fits(chunker, text):
    chunks = chunker.chunk(Document("d", text, "Title"), Words())
    joined = "".join(chunk.passage.replace("\n", " ") + " " for chunk in chunks)
    assert set(words(text)) <= set(words(joined)) or text.strip() in joined.replace(" ", "").replace(
        "Title", ""
    )
    assert cut(chunks, Words(getattr(chunker, "tokens", None) or chunker.max_tokens or 20)) == 0
    assert len({chunk.id for chunk in chunks}) == len(chunks)


@pytest.mark.parametrize("text", [TEXT, "word " * 200, "a  b\n\n\n c\td"])
def test_without_overlap_the_parts_joined_are_the_text(text):
    assert "".join(_pack(text, 10, 0, Words())) == text
    assert "".join(piece for piece, _ in _split(text, 3, Words())) == text


def test_paragraphs_stay_whole_where_they_fit():
    assert list(_pack("one two\n\nthree four\n\nfive six", 4, 0, Words())) == [
        "one two\n\nthree four\n\n",
        "five six",
    ]


def test_sentences_stay_whole_where_they_fit():
    assert list(_pack("One two. Three four. Five.", 6, 0, Words())) == ["One two. Three four. ", "Five."]


ROWS = [f"| part {number}. Of steel | {number} kg |" for number in range(9)]
TABLE = "\n".join(["| Part | Weight |", *ROWS])


@pytest.mark.parametrize("chunker", [Headings(), Windows(tokens=40, overlap=0)])
def test_each_part_of_a_table_has_whole_rows_and_the_head(chunker):
    text = f"Our parts. What they weigh:\n\n{TABLE}\n\nAll weights are rough. Ask before you lift one."
    tokens = Words(40)
    chunks = chunker.chunk(Document("d", text, "Parts"), tokens)
    assert len(chunks) > 2
    assert not cut(chunks, tokens)
    lines = [line for chunk in chunks for line in chunk.text.splitlines() if line.startswith("|")]
    assert [line for line in lines if line in ROWS] == ROWS
    assert set(lines) - set(ROWS) == {"| Part | Weight |"}
    for chunk in chunks:
        rows = [line for line in chunk.text.splitlines() if line.startswith("|")]
        assert not rows or rows[0] == "| Part | Weight |"


def test_a_head_that_takes_too_much_room_is_not_repeated():
    head = "| " + " ".join(f"word{number}" for number in range(14)) + " | b |"
    chunks = Headings().chunk(Document("d", "\n".join([head, *ROWS]), "Parts"), Words(40))
    assert sum(head in chunk.text for chunk in chunks) == 1


def test_pipes_in_code_are_no_table():
    code = "```\n" + "\n".join(f"cat file{number} | sort -u | head" for number in range(12)) + "\n```"
    chunks = Headings().chunk(Document("d", code, "Shell"), Words(40))
    assert sum(chunk.text.count("cat file0 ") for chunk in chunks) == 1


CODE = [f"step{number}(one, two)  # of many" for number in range(12)]


@pytest.mark.parametrize(
    "chunker", [Headings(), Headings(overlap=9), Windows(tokens=60, overlap=0), Windows(tokens=60)]
)
@pytest.mark.parametrize("fence", ["```python", "~~~~"])
@pytest.mark.parametrize("blank", ["\n", "\n\n"])
def test_each_part_of_a_code_block_is_code(chunker, fence, blank):
    sign = fence.removesuffix("python")
    block = f"{fence}\n{blank.join(CODE)}{blank}{sign}"
    text = f"Run these. They come in order:\n\n{block}\n\nThen wait. It takes a minute or two.\n\n" * 3
    tokens = Words(60)
    chunks = chunker.chunk(Document("d", text, "Steps"), tokens)
    assert not cut(chunks, tokens)
    for chunk in chunks:
        marked = [*mark_code(chunk.text.split("\n"))]
        assert all(in_code for line, in_code in marked if "step" in line)
        assert not any(in_code for line, in_code in marked if "Run" in line or "wait" in line)
        assert f"{fence}\n{sign}" not in chunk.text
    if not chunker.overlap:
        lines = [line for chunk in chunks for line in chunk.text.split("\n") if "step" in line]
        assert lines == CODE * 3


def test_fences_that_take_too_much_room_are_not_repeated():
    fence = "```python title=one two three four five six seven"
    code = "\n".join([fence, *CODE, "```"])
    chunks = Headings().chunk(Document("d", code, "Steps"), Words(40))
    assert sum(fence in chunk.text for chunk in chunks) == 1
    assert not cut(chunks, Words(40))


def test_a_fence_that_stays_open_is_followed_to_the_end():
    chunks = Headings().chunk(Document("d", "\n".join(["```", *CODE]), "Steps"), Words(60))
    assert len(chunks) > 1
    assert all(chunk.text.startswith("```\n") for chunk in chunks)


def test_overlap_repeats_the_last_words():
    first, second, *_ = _pack("a b c d e f g h i j", 4, 2, Words())
    assert (first, second) == ("a b c d ", "c d e f ")


def test_overlap_takes_whole_pieces_then_words():
    parts = list(_pack("One two. Three. Four five six.", 6, 4, Words(), by_sentence=True))
    assert parts == ["One two. Three. ", "Three. Four five six."]


def test_a_script_with_several_tokens_a_letter_still_fits():
    chunks = Headings().chunk(Document("d", "日本語" * 30), Letters())
    assert "".join(chunk.text for chunk in chunks) == "日本語" * 30
    assert cut(chunks, Letters()) == 0


def test_a_title_that_is_too_long_leaves_room_for_the_text():
    chunks = Windows(tokens=10, overlap=0).chunk(Document("d", "a b c d", "long " * 30), Words())
    assert [chunk.title for chunk in chunks] == [" ".join(["long"] * 5)] * len(chunks)
    assert cut(chunks, Words(10)) == 0


def test_headings_that_are_too_long_go_into_the_text():
    text = f"# {'heading ' * 15}\n\n{'body ' * 30}"
    chunks = Headings().chunk(Document("d", text, "Guide"), Words())
    assert chunks[0].title == "Guide"
    assert chunks[0].text.startswith("heading heading")
    assert sum(chunk.text.count("body") for chunk in chunks) == 30


def test_whole_keeps_a_document_in_one_piece():
    (chunk,) = Whole().chunk(Document("d", TEXT, "Guide"), Words())
    assert (chunk.title, chunk.text) == ("Guide", TEXT)
    assert cut([chunk], Words()) == 1


@pytest.mark.parametrize("chunker", [Headings(), Windows(), Whole()])
def test_an_empty_document_has_no_chunks_and_a_bare_title_is_one(chunker):
    assert chunker.chunk(Document("d", " \n"), Words()) == []
    assert contents(chunker.chunk(Document("d", "", "card arrival"), Words())) == [("", "card arrival")]


def test_ids_depend_on_the_content_alone():
    first, second = (Headings().chunk(Document("d", "Hello.", "Guide"), Words()) for _ in range(2))
    assert first == second
    assert Headings().chunk(Document("e", "Hello.", "Guide"), Words())[0].id != first[0].id


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Headings(max_tokens=3), r"chunker.max_tokens is 3: give a whole number from 8 to"),
        (lambda: Headings(overlap=-1), r"chunker.overlap is -1"),
        (
            lambda: Windows(tokens=32, overlap=32),
            r"chunker.overlap=32: give fewer tokens than chunker.tokens",
        ),
    ],
)
def test_sizes_that_make_no_sense(build, message):
    with pytest.raises(ConfigError, match=message):
        build()


CHINESE = "第117号水泵每周检查一次。备件放在第2450号货架上，离大门不远。" * 12


@pytest.mark.parametrize("chunker", [Headings(max_tokens=40), Windows(tokens=40, overlap=0)])
def test_unspaced_text_is_cut_at_the_ends_of_its_sentences(chunker):
    chunks = chunker.chunk(Document("d", CHINESE, "水泵"), Letters(40))
    assert len(chunks) > 5
    assert "".join(chunk.text for chunk in chunks) == CHINESE
    assert all(chunk.text.endswith(("。", "，")) for chunk in chunks)


@pytest.mark.parametrize(
    "text",
    [
        "水泵12345与锅炉67890的连接管" * 20,
        "เครื่องสูบน้ำหมายเลข12345อยู่ใกล้หม้อไอน้ำ67890" * 20,
        "ເຄື່ອງ12345ຢູ່ໃກ້ຫມໍ້67890" * 20,
    ],
)
def test_without_sentences_no_number_and_no_letter_with_its_marks_is_divided(text):
    chunks = Windows(tokens=40, overlap=0).chunk(Document("d", text, ""), Letters(40))
    parts = [chunk.text for chunk in chunks]
    assert "".join(parts) == text
    assert {number for part in parts for number in re.findall(r"\d+", part)} == {"12345", "67890"}
    assert not [part for part in parts if unicodedata.category(part[0]) in ("Mn", "Mc")]


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("पंप बंद करें। फिर रुकें। अंत में देखें।", ["पंप बंद करें। ", "फिर रुकें। ", "अंत में देखें।"]),
        ("هل هو ساخن؟ انتظر قليلا. ثم ابدأ!", ["هل هو ساخن؟ ", "انتظر قليلا. ", "ثم ابدأ!"]),
        ("「止めて。」と言う。次へ！", ["「止めて。」", "と言う。", "次へ！"]),
        ("It takes 3.5 hours. Wait.", ["It takes 3.5 hours. ", "Wait."]),
    ],
)
def test_sentences_end_as_their_script_ends_them(text, sentences):
    assert _cut(text, SENTENCE_END) == sentences


@pytest.mark.parametrize("fence", ["````", "~~~~"])
def test_a_longer_fence_holds_shorter_ones(fence):
    code = f"{fence}\n```\n# no heading\n```\n{fence}"
    text = f"Intro.\n\n{code}\n\n# Use\n\n``` inline ``` code.\n\n# Last\n\nEnd."
    assert [path for path, _ in _sections(text)] == [(), ("Use",), ("Last",)]


def test_unspaced_chunks_overlap_too():
    chunks = Windows(tokens=60, overlap=20).chunk(Document("d", CHINESE, ""), Letters(60))
    for before, after in pairwise(chunks):
        shared = next(n for n in range(len(after.text), -1, -1) if before.text.endswith(after.text[:n]))
        assert 0 < shared <= 10  # two tokens a letter


@pytest.mark.parametrize("separator", ["\n\n", "\n", ". ", "。", " ", ""])
def test_a_very_long_text_is_cut_block_by_block_and_says_how_far_it_is(separator, monkeypatch, caplog):
    monkeypatch.setattr(chunking, "_BLOCK", 100)
    monkeypatch.setattr(chunking, "_PARTS", 3)
    monkeypatch.setattr("embexp.progress._SECONDS_BETWEEN_LINES", 0.0)
    monkeypatch.setattr("sys.stderr.isatty", lambda: False)
    caplog.set_level("INFO", logger="embexp")
    text = separator.join(f"word{number:04}" for number in range(60))
    chunks = Windows(tokens=40, overlap=0).chunk(Document("d", text), Letters())

    assert "".join("".join(chunk.text for chunk in chunks).split()) == "".join(text.split())
    assert f"Cutting a long text (characters): {len(text):,} of {len(text):,}" in caplog.text
    assert all(Letters().count([chunk.text])[0] <= 40 for chunk in chunks)
    if separator.isspace():
        assert all(text.startswith("word") for chunk in chunks for text in chunk.text.split())
