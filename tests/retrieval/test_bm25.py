from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from embexp.data.records import Chunk
from embexp.errors import ConfigError, RetrievalError
from embexp.retrieval.analyzer import Analyzer
from embexp.retrieval.bm25 import Bm25Retriever
from embexp.retrieval.index import Hit
from embexp.retrieval.translations import TranslatedTerm, Translations

Make = Callable[..., list[Chunk]]


class Untouchable:
    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"the embedder was asked for {name}")


def ids(hits: list[Hit]) -> list[str]:
    return [hit.id for hit in hits]


def test_settings_that_are_not_the_defaults_are_told() -> None:
    assert Bm25Retriever().changed_settings() == {}
    assert Bm25Retriever(k1=2.0, stemmer=None, fuzzy=True).changed_settings() == {"k1": 2.0, "stemmer": None}


def test_the_fingerprint_covers_settings_and_what_the_translations_say(tmp_path: Path) -> None:
    as_written = Analyzer(None, None)
    file = tmp_path / "translations.json"
    Translations(as_written, as_written, {}).write(file)
    first = Bm25Retriever(translations=str(file)).fingerprint()
    assert Bm25Retriever(translations=str(file.rename(tmp_path / "other.json"))).fingerprint() == first

    Translations(as_written, as_written, {"a": TranslatedTerm(0.5, 0.5, {"b": 0.9})}).write(file)
    others = [Bm25Retriever(translations=str(file)), Bm25Retriever(), Bm25Retriever(fuzzy=False)]
    assert len({first, *(each.fingerprint() for each in others)}) == 4


def test_scores_follow_the_formula(chunks: Make, tmp_path: Path) -> None:
    index = Bm25Retriever(k1=1.2, b=0.5).index(
        chunks("deque deque tree", "tree", "socket thread"), path=tmp_path
    )
    (hit,) = index.search(["deque"], k=3)[0]

    # Lucene: idf = ln(1 + (N - n + 0.5) / (n + 0.5)); the passage has 3 of 2 words on average.
    idf = math.log(1 + (3 - 1 + 0.5) / (1 + 0.5))
    assert hit.id == "0"
    assert hit.score == pytest.approx(idf * 2 / (2 + 1.2 * (1 - 0.5 + 0.5 * 3 / 2)), rel=1e-5)


def test_the_embedder_is_not_touched_and_nothing_is_written(
    chunks: Make, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    index = Bm25Retriever().index(chunks("deque"), Untouchable(), path=tmp_path)

    assert ids(index.search(["deque"], k=1)[0]) == ["0"]
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")


def test_equal_scores_are_ordered_by_id(chunks: Make, tmp_path: Path) -> None:
    corpus = chunks("tree one", "tree two", "tree six", "rest", ids=["c", "a", "b", "d"])

    assert ids(Bm25Retriever().index(corpus, path=tmp_path).search(["tree"], k=2)[0]) == ["a", "b"]


@pytest.mark.parametrize(
    ("options", "query", "found"),
    [
        ({}, "RUNS", ["0"]),
        ({"stemmer": None}, "runs", []),
        ({"stemmer": None}, "running", ["0"]),
        ({"stemmer": "german"}, "läufe", ["1"]),
        ({}, "the", []),
        ({"stopwords": None}, "the", ["0"]),
        ({}, "nothing shared", []),
        ({}, "", []),
        ({}, "!?", []),
    ],
)
def test_words_meet_as_configured(
    chunks: Make, tmp_path: Path, options: dict[str, Any], query: str, found: list[str]
) -> None:
    corpus = chunks("the running man", "der läufer läuft", "!?")

    assert ids(Bm25Retriever(**options).index(corpus, path=tmp_path).search([query], k=9)[0]) == found


def test_queries_do_not_change_the_index(chunks: Make, tmp_path: Path) -> None:
    index = Bm25Retriever().index(chunks("deque", "tree"), path=tmp_path)
    before = index.search(["deque trees", "new word", "tree"], k=2)

    assert index.search(["deque trees", "new word", "tree"], k=2) == before


def test_a_corpus_of_no_words_finds_nothing(chunks: Make, tmp_path: Path) -> None:
    assert Bm25Retriever().index(chunks("", "!"), path=tmp_path).search(["deque"], k=2) == [[]]


def test_an_empty_corpus_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RetrievalError, match="the corpus has no chunks"):
        Bm25Retriever().index([], path=tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"k1": -0.1}, r"retriever.k1 is -0.1: give a number from 0 to"),
        ({"b": 1.5}, r"retriever.b is 1.5: give a number from 0 to 1"),
        ({"stemmer": "klingon"}, r"retriever.stemmer is klingon: give one of .*english"),
        ({"stopwords": "klingon"}, r"retriever.stopwords is klingon"),
    ],
)
def test_impossible_options_are_refused(
    chunks: Make, tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        Bm25Retriever(**options).index(chunks("a"), path=tmp_path)


def test_normalised_scores_are_shares_of_the_queries_words(chunks: Any, tmp_path: Path) -> None:
    index = Bm25Retriever(stemmer=None, stopwords=None).index(
        chunks("alpha beta", "alpha gamma", "delta"), path=tmp_path
    )
    beta, nothing = index.normalised(["beta alpha zeta", "zeta"])

    # idf = ln(1 + (3 - n + .5) / (n + .5)): beta .980829, alpha .470004. The first chunks have 2 words, the
    # mean is 5/3: tf / (tf + k1 * (1 - b + b * 2 / (5 / 3))) = 1 / (1 + .9 * 1.08) = .507099.
    # zeta occurs in no chunk and counts ln(1 + 3.5 / .5) = 2.079442: the idfs add up to 3.530275.
    beta_alpha, alpha = 0.507099 * 1.450833 / 3.530275, 0.507099 * 0.470004 / 3.530275
    assert beta.tolist() == pytest.approx([beta_alpha, alpha, 0.0], abs=1e-5)
    assert nothing.tolist() == [0.0, 0.0, 0.0]


CORPORA = {
    "zh": (
        ["上海工厂的锅炉由小王检查。", "北京工厂的水泵由老李检查。", "深圳工厂的起重机由老赵检查。"],
        ["谁检查锅炉？", "水泵", "深圳的起重机"],
    ),
    "ja": (
        [
            "大阪のボイラーは田中が点検します。",
            "京都のポンプは佐藤が点検します。",
            "神戸のクレーンは鈴木が点検します。",
        ],
        ["ﾎﾞｲﾗｰの点検", "ポンプは誰？", "クレーン"],
    ),
    "th": (
        ["หม้อไอน้ำที่เชียงใหม่ตรวจโดยสมชาย", "ปั๊มที่ภูเก็ตตรวจโดยสมหญิง", "เครนที่ระยองตรวจโดยวิชัย"],
        ["หม้อไอน้ำ", "ใครตรวจปั๊ม", "เครนที่ระยอง"],
    ),
    "lo": (["ຫມໍ້ນ້ຳຢູ່ວຽງຈັນ", "ປ້ຳຢູ່ປາກເຊ", "ເຄນຢູ່ໄຊຍະບູລີ"], ["ຫມໍ້ນ້ຳ", "ປ້ຳຢູ່ໃສ", "ເຄນ"]),
    "km": (["ឡចំហាយនៅភ្នំពេញ", "ស្នប់នៅសៀមរាប", "ស្ទូចនៅកំពត"], ["ឡចំហាយ", "ស្នប់", "កំពត"]),
    "my": (["ဘွိုင်လာ ရန်ကုန်မှာ", "ပန့်က မန္တလေးမှာ", "ကရိန်းက ပုသိမ်မှာ"], ["ဘွိုင်လာ", "ပန့်", "ပုသိမ်"]),
    "hi": (
        ["दिल्ली का बॉयलर रमेश देखता है।", "मुंबई का पंप सुनीता देखती है।", "पुणे की क्रेन अनिल देखता है।"],
        ["बॉयलर कौन देखता है?", "पंप", "क्रेन"],
    ),
    "ar": (
        ["الغلاية في القاهرة يفحصها سمير", "المضخة في تونس تفحصها ليلى", "الرافعة في عمان يفحصها خالد"],
        ["الغِلاية", "مضخة", "رافعة عمان"],
    ),
    "de": (
        ["Den Kessel in Wien prüft Anna.", "Die Pumpen in Graz prüft Max.", "Die Kräne in Linz prüft Eva."],
        ["Kessel", "Pumpe", "Kränen"],
    ),
}


@pytest.mark.parametrize("code", CORPORA)
def test_passages_are_found_in_any_script(chunks: Make, tmp_path: Path, code: str) -> None:
    passages, queries = CORPORA[code]
    filler = FILLER.get(code, passages[0])
    index = Bm25Retriever().index(chunks(*passages, *[filler] * (60 if code in FILLER else 0)), path=tmp_path)

    assert [ids(hits)[0] for hits in index.search(queries, k=1)] == ["0", "1", "2"]


FILLER = {
    "ar": "يعمل الفريق كل يوم في المصنع الكبير بجانب النهر ويحفظ السجلات في المكتب",
    "de": "Die Mannschaft arbeitet jeden Tag in der großen Halle am Fluss und führt ein Buch darüber.",
    "hi": "कर्मचारी हर दिन नदी के पास बड़े कारखाने में काम करते हैं और लेखा रखते हैं।",
}


def test_a_single_letter_of_an_unspaced_script_is_found(chunks: Make, tmp_path: Path) -> None:
    index = Bm25Retriever().index(chunks("水泵的油", "锅炉"), path=tmp_path)

    assert ids(index.search(["油"], k=2)[0]) == ["0"]


@pytest.mark.parametrize(
    ("passage", "line"),
    [
        (FILLER["de"], "language 'de'; stemming: german, stop words: german."),
        (FILLER["ar"], "language 'ar'; stemming: arabic, stop words: none."),
        (
            "北厂房的水泵每周在换班之前由工人检查一次，备件放在货架上。",
            "'zh'; stemming: none, stop words: chinese.",
        ),
        ("pump", "too little text to tell; stemming: english, stop words: english."),
    ],
)
def test_a_line_says_which_language_was_found(
    chunks: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture, passage: str, line: str
) -> None:
    caplog.set_level("INFO", logger="embexp")
    corpus = chunks(*[passage] * (40 if len(passage) > 20 else 1))
    Bm25Retriever().index(corpus, path=tmp_path)

    assert line in caplog.text


def test_a_language_that_is_set_is_not_detected(
    chunks: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="embexp")
    corpus = chunks(*[FILLER["de"]] * 40, "runs")
    index = Bm25Retriever(stemmer="english", stopwords=None).index(corpus, path=tmp_path)

    assert caplog.text == ""
    assert ids(index.search(["running"], k=1)[0]) == ["40"]


def test_too_little_memory_is_told_before_the_index_is_built(
    chunks: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("embexp.memory.available_memory", lambda: 10)
    Bm25Retriever().index(chunks("deque", "tree"), path=tmp_path)
    assert "The BM25 index of 2 passages needs about" in caplog.text
    assert "dataset.limit" in caplog.text
