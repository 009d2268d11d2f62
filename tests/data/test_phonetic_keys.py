"""Words that sound alike have one phonetic key, in whatever script they are written."""

from __future__ import annotations

import pytest

from embexp.data.phonetic_keys import phonetic_key, script


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["протокол", "protocol", "protokoll", "πρωτοκολ"], "protokol"),
        (["клиент", "client", "klient"], "klient"),
        (["фильтр"], "filtr"),
        (["менеджер"], "menejer"),
        (["cheque", "chekve"], "chekve"),
        (["cipher", "sifer"], "sifer"),
        (["телефон", "telephon"], "telefon"),
        (["café", "cafe"], "kafe"),
        (["!?", ""], ""),
    ],
)
def test_words_that_sound_alike_have_one_key(words: list[str], expected: str) -> None:
    assert [phonetic_key(word) for word in words] == [expected] * len(words)


@pytest.mark.parametrize(
    ("letter", "expected"), [("a", "LATIN"), ("ж", "CYRILLIC"), ("λ", "GREEK"), ("1", "DIGIT"), ("\x00", "")]
)
def test_a_letter_has_a_script(letter: str, expected: str) -> None:
    assert script(letter) == expected
