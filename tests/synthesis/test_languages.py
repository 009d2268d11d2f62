"""Questions in the language of their documents, and chatter in any language."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest

from embexp.data.records import Chunk
from embexp.errors import ConfigError, EmbexpError
from embexp.llm.llm import Request
from embexp.synthesis import languages
from embexp.synthesis.entries import EntriesSynthesis
from embexp.synthesis.filters.options import Filters
from embexp.synthesis.languages import DocumentLanguages, in_words, language_problem, named_language
from embexp.synthesis.query_text import chatter, is_refusal
from embexp.synthesis.rag import RagSynthesis
from tests.synthesis.synthesis_fakes import FakeLLM, good, numbers, passages

FREE = Filters(round_trip=None, near_duplicates=1.0, copied=None)
DOCUMENTS = {
    "de": "Das Fahrrad wird nach der Fahrt an der Station {n} abgestellt und mit dem Schlüssel verriegelt. "
    "Wer den Akku leer zurückbringt, zahlt eine kleine Gebühr, weil ihn jemand wieder laden muss.",
    "es": "Después del viaje la bicicleta se deja en la estación {n} y se bloquea con la llave. Quien "
    "devuelve la batería vacía paga una pequeña tasa, porque alguien tiene que cargarla de nuevo.",
    "zh": "骑行结束以后，请把自行车停放在{n}号站点，并用钥匙锁好。"
    "如果归还时电池没有电，就需要支付一小笔费用，因为下一次出租之前必须有人给它充电。",
}
OWN = {
    "de": "Was kostet es in Fall {n}, wenn ich das Rad ohne Ladung wieder abgebe?",
    "es": "¿Cuánto hay que pagar en el caso {n} si entrego la bici sin carga?",
    "zh": "在第{n}种情况下，还车的时候没电了要交多少钱？",
}
ENGLISH = "How much do I have to pay in case {n} when my bike comes back empty?"
CHATTER = {
    "de": ["Was sagt dieser Abschnitt über Fall {n}?", "Laut dem Text, was kostet Fall {n}?"],
    "es": ["Según el texto, ¿cuánto cuesta el caso {n}?", "¿Qué dice este pasaje sobre el caso {n}?"],
    "zh": ["根据上述文本，第{n}种情况要多少钱？", "这段文字怎么说明第{n}种情况？"],
}


def corpus(code: str, count: int = 6) -> list[Chunk]:
    return [
        Chunk(id=f"{code}{n}", document_id=f"{code}-d{n}", text=DOCUMENTS[code].format(n=n))
        for n in range(count)
    ]


def answering(request: Request, *questions: str) -> str:
    passage = passages(request)[0]
    quote, mark = " ".join(passage.split()[:6]), sum(map(ord, passage)) % 9973
    items = [
        {"number": n, "query": questions[n % len(questions)].format(n=f"{mark}{n}")} for n in numbers(request)
    ]
    return json.dumps({"queries": [{**item, "evidence": [{"passage": 1, "quote": quote}]} for item in items]})


def write(llm: FakeLLM, code: str, **options: Any) -> tuple[int, dict[str, int]]:
    synthesis = RagSynthesis(**{"target": 20, "filters": FREE, "patience": 60, "held_out": False, **options})
    try:
        list(synthesis.pairs(corpus(code), {}, llm=llm))
    except EmbexpError:
        assert synthesis.report()["accepted"] == 0
    return synthesis.report()["accepted"], synthesis.report()["rejected"]


@pytest.mark.parametrize("code", sorted(DOCUMENTS))
def test_questions_in_the_documents_language_are_kept(code: str) -> None:
    accepted, rejected = write(FakeLLM(reply=lambda request: answering(request, OWN[code])), code)
    assert (accepted, rejected) == (20, {})


@pytest.mark.parametrize("code", sorted(DOCUMENTS))
def test_questions_in_another_language_are_asked_again_once_and_then_dropped(code: str) -> None:
    llm = FakeLLM(reply=lambda request: answering(request, ENGLISH))
    accepted, rejected = write(llm, code)
    assert accepted == 0
    assert set(rejected) <= {"language", "unrepaired"}
    assert rejected["language"] >= 20
    repairs = [request for request in llm.asked if len(request.messages) > 2]
    assert f"it is in English and must be in {languages.NAMES[code]}" in repairs[0].messages[-1].content


@pytest.mark.parametrize("code", sorted(DOCUMENTS))
def test_a_repair_that_says_the_language_helps(code: str) -> None:
    def reply(request: Request) -> str:
        return answering(request, OWN[code] if len(request.messages) > 2 else ENGLISH)

    assert write(FakeLLM(reply=reply), code) == (20, {})


@pytest.mark.parametrize("code", sorted(DOCUMENTS))
def test_chatter_in_the_documents_language_is_rejected(code: str) -> None:
    llm = FakeLLM(reply=lambda request: answering(request, *CHATTER[code]))
    accepted, rejected = write(llm, code, repairs=0)
    assert accepted == 0
    assert set(rejected) == {"chatter"}


def test_documents_of_several_languages_have_each_their_own() -> None:
    found = DocumentLanguages([chunk for code in DOCUMENTS for chunk in corpus(code, 2)])
    assert [found.of(f"{code}-d1") for code in ("de", "es", "zh")] == ["de", "es", "zh"]
    assert found.of("nobody") is None


def test_the_language_can_be_forced() -> None:
    llm = FakeLLM(reply=lambda request: answering(request, ENGLISH))
    accepted, rejected = write(llm, "de", language="en")
    assert (accepted, rejected) == (20, {})
    assert "in English, numbered as here" in llm.asked[0].messages[1].content


def test_the_check_can_be_left_out() -> None:
    free = Filters(round_trip=None, near_duplicates=1.0, copied=None, same_language=False)
    llm = FakeLLM(reply=lambda request: answering(request, ENGLISH))
    assert write(llm, "de", filters=free) == (20, {})


@pytest.mark.parametrize(
    ("setting", "code", "prompt"),
    [
        ("de", "de", "German"),
        ("German", "de", "German"),
        ("simple Spanish for children", "es", "simple Spanish for children"),
        ("the language of passage 1", None, "the language of passage 1"),
        ("Klingon", None, "Klingon"),
    ],
)
def test_the_setting_is_read(setting: str, code: str | None, prompt: str) -> None:
    assert (named_language(setting), in_words(setting)) == (code, prompt)


def test_a_code_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"synthesis\.language=xx: not a code"):
        RagSynthesis(language="xx")


@pytest.mark.parametrize(
    ("text", "expected", "passage"),
    [
        ("Tomcat Connector Timeout server.xml", "de", ""),  # names, of no language
        ("Hvordan returnerer jeg en sykkel uten strøm på batteriet?", "da", ""),  # too close to tell
        ("pump pressure valve", "de", ""),  # too short
        ("anything at all in whichever language one likes", None, ""),
        ("Wie stelle ich den Connection Pool auf zwanzig Verbindungen ein?", "de", "connection pool"),
    ],
)
def test_only_a_clear_mismatch_is_a_problem(text: str, expected: str | None, passage: str) -> None:
    assert language_problem(text, expected, passage=passage) is None


def test_words_of_the_passage_do_not_hide_the_language_around_them() -> None:
    passage = DOCUMENTS["de"]
    query = "How are Gebühr and Station and Schlüssel and Ausleihe related?"
    assert language_problem(query, "de", passage=passage) == "it is in English and must be in German"


def test_entries_are_held_to_the_language_of_their_domain() -> None:
    llm = FakeLLM(
        reply=lambda request: good(request) if request.schema_name == "topics" else english(request)
    )
    domain = DOCUMENTS["de"].format(n=4)
    synthesis = EntriesSynthesis(target=20, domain=domain, areas=1, topics_per_area=2, repairs=0, patience=20)
    with pytest.raises(EmbexpError, match=r"20 language; .*query: it is in English and must be in German"):
        list(synthesis.pairs(llm=llm))


def english(request: Request) -> str:
    positive = "The bicycle is left at the station after the ride and locked with the key. " * 4
    negative = "The key is returned to the office before noon, where somebody writes it down. " * 4
    items = [
        {"number": n, "query": ENGLISH.format(n=n), "positive": positive, "negative": negative}
        for n in numbers(request)
    ]
    return json.dumps({"entries": items})


@pytest.mark.parametrize("filters", [{}, {"languages": ["en"]}])
def test_a_missing_recogniser_is_found_before_anything_is_paid_for(
    filters: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "py3langid", None)
    llm = FakeLLM(reply=good)
    with pytest.raises(ConfigError, match=r"synthesis\.filters\.\w+=.* needs the package py3langid"):
        list(RagSynthesis(filters=Filters(**filters)).pairs(corpus("de"), {}, llm=llm))
    with pytest.raises(ConfigError, match="needs the package py3langid"):
        list(EntriesSynthesis(filters=Filters(**filters)).pairs(llm=llm))
    assert llm.asked == []


def test_an_unknown_code_is_found_before_anything_is_paid_for() -> None:
    llm = FakeLLM(reply=good)
    with pytest.raises(ConfigError, match=r"'english' is not the ISO 639-1 code"):
        list(RagSynthesis(filters=Filters(languages=["english"])).pairs(corpus("de"), {}, llm=llm))
    assert llm.asked == []


@pytest.mark.parametrize(
    "text",
    [
        "Hier sind fünf Fragen zum Thema",
        "Wie wird im obigen Dokument die Pumpe geprüft?",
        "Was wird in dem vorliegenden Text zu Öl erklärt?",
        "Welche Rolle spielt Druck gemäß der Passage?",
        "¡Claro! Aquí tienes las preguntas",
        "De acuerdo con el fragmento, ¿qué se revisa?",
        "Voici les questions demandées",
        "Selon le passage, comment régler la pompe ?",
        "Secondo il testo, come si regola la pompa?",
        "De acordo com o texto, como se regula?",
        "Volgens de tekst, hoe stel je de pomp in?",
        "Według tekstu, jak ustawić pompę?",
        "Согласно данному тексту, как настроить насос?",
        "好的，以下是五个问题",
        "文中提到的压力是多少？",
        "この文章によると圧力はいくつですか",
        "이 글에 따르면 압력은 얼마인가요?",
    ],
)
def test_chatter_is_recognised_in_each_language(text: str) -> None:
    assert (chatter(text) or "").startswith("chatter")


@pytest.mark.parametrize(
    "text",
    [
        "Es tut mir leid, aber ich kann das nicht beantworten.",
        "Als KI-Modell habe ich keine Meinung",
        "Lo siento, pero no puedo ayudar con eso.",
        "Désolé, je ne peux pas répondre à cette demande.",
        "Mi dispiace, ma non posso aiutarti con questo.",
        "Desculpe, não posso ajudar com isso.",
        "Извините, но я не могу помочь.",
        "抱歉，我无法回答这个问题。",
        "申し訳ありませんが、その質問にはお答えできません。",
        "죄송하지만 도와드릴 수 없습니다.",
    ],
)
def test_refusals_are_recognised_in_each_language(text: str) -> None:
    assert is_refusal(text)


@pytest.mark.parametrize(
    "text",
    [
        "Wie suche ich nach dem Dokument im Archiv?",
        "Was sagt Absatz 5 des Vertrags zur Kündigung?",
        "Welcher Abschnitt der Autobahn ist gesperrt?",
        "Ich kann mein Konto nicht erstellen",
        "¿Cómo se alinea el texto en un párrafo?",
        "Según el artículo 5, ¿qué plazo rige?",
        "no puedo crear una cuenta",
        "Comment insérer une image dans le document ?",
        "Où se trouve le passage piéton ?",
        "如何在文档中插入图片？",
        "根据材料的强度选择螺栓",
        "Как изменить текст кнопки?",
        "テキストを検索する方法は？",
        "문서를 저장하는 방법",
    ],
)
def test_what_people_ask_about_texts_is_no_chatter(text: str) -> None:
    assert chatter(text) is None
