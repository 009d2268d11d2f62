from __future__ import annotations

import pytest

from embexp.data.languages import corpus_language, language_of

SENTENCES = {
    "en": "The pump in the north hall is checked by the crew every week before the shift begins.",
    "de": "Die Pumpe in der nördlichen Halle wird jede Woche vor der Schicht von der Mannschaft geprüft.",
    "no": "Pumpen i den nordlige hallen blir kontrollert av mannskapet hver uke før skiftet begynner.",
    "zh": "北厂房的水泵每周在换班之前由工人检查一次，备件放在黄色的货架上。",
    "ja": "北の建物のポンプは、毎週の交代の前に作業員が点検します。部品は黄色い棚にあります。",
    "th": "ปั๊มน้ำในอาคารทิศเหนือได้รับการตรวจสอบทุกสัปดาห์ก่อนเริ่มกะ",
    "hi": "उत्तरी हॉल के पंप की हर सप्ताह पाली शुरू होने से पहले जाँच की जाती है।",
    "ar": "يفحص الفريق المضخة في القاعة الشمالية كل أسبوع قبل بداية المناوبة.",
}


@pytest.mark.parametrize("code", SENTENCES)
def test_a_corpus_of_short_passages_shows_its_language(code: str) -> None:
    assert corpus_language([SENTENCES[code]] * 40).code == code


def test_no_language_leads_where_two_have_half_each() -> None:
    passages = [SENTENCES["de"] * 10] * 20 + [SENTENCES["en"] * 10] * 20
    assert corpus_language(passages).code is None


@pytest.mark.parametrize("passages", [[], [""], ["Die Pumpe"]])
def test_too_little_text_shows_no_language(passages: list[str]) -> None:
    assert corpus_language(passages).code is None


def test_a_text_shows_its_language() -> None:
    code, sure = language_of(SENTENCES["de"])
    assert code == "de"
    assert sure > 0.9
