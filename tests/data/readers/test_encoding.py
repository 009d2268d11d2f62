from __future__ import annotations

import gzip

import pyarrow as pa
import pytest

from embexp.data.readers import encoding as module
from embexp.data.readers.encoding import check_encoding, clean, decode, format_of, guess, open_text
from embexp.data.readers.problems import Problems, UnreadableError
from embexp.data.readers.text import read_text
from embexp.errors import ConfigError, DataError

WESTERN = {
    "de": "Grüße aus München: schöne Straßen, große Äpfel und viele Öfen für alle Bürger der Stadt.",
    "fr": "Où est la clé ? L’hôtel près de la forêt a été fermé à cause de la fête, ça suffit. Le cœur bat.",
    "es": "¿Quién abrió la botella? El señor Ibáñez la guardó aquí el año pasado según su mujer.",
    "sv": "Var står båten på sjön? Vi köper två äpplen på lördag och går hem över ängen.",
    "pt": "A irmã não está à janela; amanhã põe-se o pão às três e há maçãs à mesa.",
    "it": "Perché la città è così lontana? Più tardi ci sarà un caffè, già pagato da papà.",
    "da": "Hvor er båden på søndag? Åbn døren og køb æbler til børnene på øen.",
    "fi": "Missä vene on sunnuntaina? Älä pelkää, tänään täällä syödään mätiä ja hyvää leipää.",
}
OTHERS = [
    ("cp1250", "Gdzie jest łódź w niedzielę? Proszę kupić świeże jabłka, gęś i żółty ser dla całej rodziny."),
    ("iso8859-2", "Kde je v neděli loď? Kupte prosím čerstvá jablka, šest hrušek a žlutý sýr pro děti."),
    ("cp1251", "Где лодка в воскресенье? Купите, пожалуйста, свежие яблоки и жёлтый сыр для детей."),
    ("koi8-r", "Где лодка в воскресенье? Купите, пожалуйста, свежие яблоки и сыр для детей."),
    ("cp1253", "Πού είναι η βάρκα την Κυριακή; Αγοράστε φρέσκα μήλα και τυρί για τα παιδιά."),
    (
        "cp1254",
        "Pazar günü kayık nerede? Lütfen çocuklar için taze elma, şeker ve sarı ışık alın; ağaç yaşlı.",
    ),
    ("cp1255", "איפה הסירה ביום ראשון? נא לקנות תפוחים טריים וגבינה צהובה לילדים."),
    ("cp1256", "أين القارب يوم الأحد؟ الرجاء شراء التفاح الطازج والجبن الأصفر للأطفال."),
    ("cp874", "วันอาทิตย์เรืออยู่ที่ไหน กรุณาซื้อแอปเปิ้ลสดและชีสสำหรับเด็ก"),
    ("cp932", "日曜日に船はどこにありますか。子供たちのために新しいりんごを買ってください。"),
    ("euc_jp", "日曜日に船はどこにありますか。子供たちのために新しいりんごを買ってください。"),
    ("gb18030", "星期天船在哪里？请给孩子们买新鲜的苹果和黄色的奶酪。"),
    ("big5", "星期天船在哪裡？請給孩子們買新鮮的蘋果和黃色的乳酪。"),
    ("cp949", "일요일에 배는 어디에 있습니까? 아이들을 위해 신선한 사과를 사 주세요."),
]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_unicode_is_read_without_a_warning(tmp_path, caplog, encoding):
    (tmp_path / "a.txt").write_text(WESTERN["de"], encoding=encoding)
    assert read_text(tmp_path / "a.txt") == WESTERN["de"]
    assert not caplog.records


@pytest.mark.parametrize("language", WESTERN)
@pytest.mark.parametrize("parts", [1, 3, 20])
def test_western_text_is_windows_1252(language, parts):
    assert guess((WESTERN[language] * parts).encode("cp1252")) == "cp1252"


@pytest.mark.parametrize("text", ["100 m³ zu 5 €", "naïve ±2 °C", "£5 – the “best” café’s", "Ångström"])
def test_a_few_letters_are_windows_1252(text):
    assert guess(text.encode("cp1252")) == "cp1252"


@pytest.mark.parametrize(("encoding", "text"), OTHERS)
def test_bytes_that_clearly_say_another_encoding_are_read_in_it(encoding, text):
    raw = text.encode(encoding)
    assert raw.decode(guess(raw)) == text


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize(
    "text", ["id,text\r\n1,a boat\r\n", "id,text\n1,星期天船在哪里？\n2,请给孩子们\n" * 9]
)
def test_utf_16_without_a_mark(tmp_path, encoding, text):
    (tmp_path / "a.csv").write_bytes(text.encode(encoding))
    assert read_text(tmp_path / "a.csv") == text.replace("\r\n", "\n")


def test_a_bad_byte_in_utf_8_is_replaced_counted_and_located(tmp_path, caplog):
    path = tmp_path / "a.txt"
    path.write_bytes("Grüße\nschöne Äpfel\n".encode() + b"broken \xe4 byte\n" + "Öfen\n".encode())
    problems = Problems()
    with open_text(path, problems) as stream:
        assert stream.read() == "Grüße\nschöne Äpfel\nbroken \ufffd byte\nÖfen\n"
    assert problems.mended() == "1 byte that is not utf-8 replaced"
    assert f"{path}: 1 byte not in utf-8, replaced by" in caplog.text
    assert "(line 3)" in caplog.text
    with pytest.raises(DataError, match=r"Or set dataset.on_error=skip to read on"):
        open_text(path, Problems("fail"))


def test_a_wrong_byte_far_from_the_beginning_is_found(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(module, "_BLOCK", 64)
    path = tmp_path / "a.txt"
    path.write_bytes(b"plain words\n" * 50 + WESTERN["de"].encode("cp1252"))
    assert read_text(path).endswith(WESTERN["de"])
    assert f"{path} is not UTF-8: read as cp1252" in caplog.text


def test_bytes_that_windows_1252_lacks_are_counted(tmp_path):
    (tmp_path / "a.txt").write_bytes("Grüße aus Köln\nund \x81 mehr über Öfen\n".encode("latin-1"))
    problems = Problems()
    with open_text(tmp_path / "a.txt", problems) as stream:
        assert stream.read() == "Grüße aus Köln\nund \ufffd mehr über Öfen\n"
    assert problems.mended() == "1 byte that is not cp1252 replaced"


def test_nuls_in_text_are_removed_and_counted(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"some text\0 and a lot more of it\n")
    problems = Problems()
    assert read_text(tmp_path / "a.txt", problems) == "some text and a lot more of it\n"
    assert problems.mended() == "1 NUL character removed"


@pytest.mark.parametrize(
    "raw", [bytes(range(256)) * 9, b"\x7fELF\2\1\1" + bytes(200), b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"]
)
def test_binary_files_are_refused(tmp_path, raw):
    (tmp_path / "a.txt").write_bytes(raw)
    with pytest.raises(UnreadableError, match=r"a.txt is a binary file"):
        read_text(tmp_path / "a.txt")


def test_a_named_encoding_is_used(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes("Łódź".encode("cp1250"))
    assert read_text(path, encoding="windows-1250") == "Łódź"


def test_an_unknown_encoding_is_refused():
    check_encoding(None)
    check_encoding("Windows-1252")
    with pytest.raises(ConfigError, match=r"dataset.encoding=utf9: there is no such encoding"):
        check_encoding("utf9")


@pytest.mark.parametrize(
    ("raw", "declared", "text"),
    [
        ("Äpfel".encode(), "iso-8859-1", "Äpfel"),
        ("Äpfel".encode("cp1252"), "utf-8", "Äpfel"),
        ("Łódź".encode("iso8859-2"), "iso-8859-2", "Łódź"),
        ("“Äpfel”".encode("cp1252"), "iso-8859-1", "“Äpfel”"),
        ("Äpfel".encode(), "no-such-charset", "Äpfel"),
        (b"plain", "utf-16", "plain"),
    ],
)
def test_a_declared_charset_counts_unless_the_bytes_contradict_it(raw, declared, text):
    assert decode(raw, "page.html", declared=declared) == text


def test_a_contradiction_is_said(caplog):
    decode("Äpfel".encode(), "page.html", declared="iso-8859-1")
    assert "page.html declares iso-8859-1 and is UTF-8" in caplog.text


@pytest.mark.parametrize("name", ["a.txt.gz", "a.txt.zst"])
def test_compressed_files_are_read(tmp_path, name):
    raw = WESTERN["sv"].encode()
    packed = gzip.compress(raw) if name.endswith("gz") else pa.compress(raw, "zstd", asbytes=True)
    (tmp_path / name).write_bytes(packed)
    assert read_text(tmp_path / name) == WESTERN["sv"]
    (tmp_path / name).write_bytes(packed[: len(packed) // 2])
    with pytest.raises(UnreadableError, match=f"{name} cannot be decompressed"):
        read_text(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "suffix"),
    [("a.CSV", ".csv"), ("a.b.jsonl.gz", ".jsonl"), ("a.gz", ""), ("a", ""), ("a.md.zst", ".md")],
)
def test_format_of_a_name(tmp_path, name, suffix):
    assert format_of(tmp_path / name) == suffix


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [("a\ud83db", "a\ufffdb"), ("\ud83d\ude00", "😀"), ("a\0b", "ab"), ("\udce9", "\ufffd")],
)
def test_clean(text, cleaned):
    assert clean(text) == cleaned
