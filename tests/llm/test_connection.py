"""Addresses, keys, proxies and certificates: an error before the first request names what is wrong."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from embexp.errors import ConfigError, EmbexpError
from embexp.llm.groq import GroqLLM
from embexp.llm.llm import Request
from embexp.llm.openai_compatible import OpenAICompatibleLLM
from embexp.services.connection import check_environment, service_address, usable_key
from tests.llm.chat_server import ChatServer, Response, Sent, chat, refusal

Start = Callable[..., ChatServer]
Requests = Callable[..., list[Request]]
VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR")


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in VARIABLES:
        monkeypatch.delenv(variable, raising=False)
        monkeypatch.delenv(variable.lower(), raising=False)


@pytest.mark.parametrize(
    ("given", "url", "parameters"),
    [
        ("http://localhost:8000", "http://localhost:8000/v1", {}),
        ("http://localhost:8000/", "http://localhost:8000/v1", {}),
        ("https://x.org/api/v1/chat/completions", "https://x.org/api/v1", {}),
        ("https://x.org/v1/models/", "https://x.org/v1", {}),
        ("http://[::1]:8000/v1/v1", "http://[::1]:8000/v1", {}),
        (
            "https://n.openai.azure.com/openai/deployments/d/chat/completions?api-version=2024-10-21",
            "https://n.openai.azure.com/openai/deployments/d",
            {"api-version": "2024-10-21"},
        ),
    ],
)
def test_an_address_is_read_as_it_is_given(given: str, url: str, parameters: dict[str, str]) -> None:
    assert service_address(given) == (url, parameters)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("localhost:8000/v1", r"llm\.base_url=localhost:8000/v1: give an address with http://"),
        ("api.example.org", r"give an address with http://"),
        ("ftp://x/v1", r"give an address with http://"),
        ("http:///v1", r"give an address with http://"),
        ("http://x:port/v1", r"the port is no number"),
        ("http://x\u200b.org/v1", r"invisible character \(U\+200B, ZERO WIDTH SPACE\) at position 9"),
        ("http://x.org /v1", r"invisible character \(U\+0020, SPACE\) at position 13"),
    ],
)
def test_an_address_that_is_none_is_refused_at_once(given: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        OpenAICompatibleLLM(model="m", base_url=given)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("sk-ab\u200bcd", r"\(U\+200B, ZERO WIDTH SPACE\) at position 6"),
        ("\ufeffsk-abcd", r"\(U\+FEFF, ZERO WIDTH NO-BREAK SPACE\) at position 1"),
        ("sk-ab\ncd", r"U\+000A"),
        ("sk-ab cd", r"U\+0020"),
        ('"sk-abcd"', "quotation marks around the key"),
        ("sk-abсd", "a character that is not ASCII, at position 6"),
    ],
)
def test_a_key_with_a_character_that_no_key_has_is_refused_without_showing_it(
    value: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", value)
    for llm in (
        OpenAICompatibleLLM(model="m", base_url="http://x/v1", api_key_env="MY_KEY"),
        GroqLLM(api_key_env="MY_KEY"),
    ):
        with pytest.raises(ConfigError, match=said) as caught:
            llm.check()
        assert "MY_KEY" in str(caught.value)
        assert "sk-ab" not in str(caught.value)


def test_spaces_and_line_breaks_around_a_key_do_no_harm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", " sk-1\n")
    assert usable_key("MY_KEY") == "sk-1"


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("ALL_PROXY", "socks://h:1080", r"ALL_PROXY=socks://h:1080: .*write socks5://h:1080"),
        ("all_proxy", "socks4://h:1080", r"all_proxy=socks4://h:1080: .*write socks5://h:1080"),
        ("HTTPS_PROXY", "ftp://h:1", r"HTTPS_PROXY=ftp://h:1: ftp:// is no kind of proxy"),
        ("HTTP_PROXY", "http://h:port", r"HTTP_PROXY=http://h:port: not a proxy's address"),
        ("HTTPS_PROXY", "ftp://me:secret@h:1", r"HTTPS_PROXY=ftp://\*\*\*@h:1"),
        ("NO_PROXY", "localhost,[::1]", r"NO_PROXY holds '\[::1\]'.*write an IPv6 address bare"),
        ("no_proxy", "fe80::/10", r"no_proxy holds 'fe80::/10'"),
        ("SSL_CERT_FILE", "/no/such.pem", r"SSL_CERT_FILE=/no/such\.pem: there is no such file"),
        ("SSL_CERT_DIR", "/no/such", r"SSL_CERT_DIR=/no/such: there is no such folder"),
        ("SSL_CERT_FILE", __file__, r"no certificate can be read from it .*give a PEM file"),
    ],
)
@pytest.mark.parametrize("service", ["compatible", "groq"])
def test_an_unusable_variable_is_named_before_the_first_request(
    service: str,
    variable: str,
    value: str,
    said: str,
    chat_service: Start,
    requests: Requests,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = chat_service(lambda _: chat("fine"))
    monkeypatch.setenv(variable, value)
    llm: Any = OpenAICompatibleLLM(model="m", base_url=server.url)
    if service == "groq":
        llm = GroqLLM(base_url=server.url.removesuffix("/v1"))
    with pytest.raises(ConfigError, match=said):
        llm.check()
    with pytest.raises(ConfigError, match=said), llm.open(tmp_path / "journal.jsonl"):
        pass
    assert server.sent == []


def test_a_socks_proxy_needs_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks5://h:1080")
    monkeypatch.setitem(__import__("sys").modules, "socksio", None)
    with pytest.raises(ConfigError, match=r"ALL_PROXY=socks5://h:1080: .*pip install socksio"):
        check_environment()


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("NO_PROXY", "localhost,127.0.0.1,::1,.example.org,10.0.0.0/8"),
        ("HTTPS_PROXY", "http://me:secret@proxy.example.org:3128"),
        ("HTTP_PROXY", "proxy.example.org:3128"),
        ("HTTP_PROXY", ""),
    ],
)
def test_usable_variables_are_left_alone(variable: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, value)
    check_environment()


def failure(url: str, requests: list[Request], journal: Path, **settings: Any) -> str:
    llm = OpenAICompatibleLLM(model="m", base_url=url, backoff_seconds=0.01, **settings)
    with pytest.raises(EmbexpError) as caught, llm.open(journal) as engine:
        list(engine.complete(requests))
    return str(caught.value)


def test_a_closed_port_is_told_after_three_requests(requests: Requests, tmp_path: Path) -> None:
    said = failure("http://127.0.0.1:9/v1", requests(20), tmp_path / "j")
    assert "failed 3 times in a row" in said
    assert "nothing listens at 127.0.0.1:9" in said


def test_a_name_that_is_not_known_is_told(requests: Requests, tmp_path: Path) -> None:
    said = failure("http://no-such-host.invalid/v1", requests(2), tmp_path / "j")
    assert "the name of no-such-host.invalid is not known; see llm.base_url" in said


def test_a_proxy_that_is_not_there_is_named(
    requests: Requests, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://me:secret@127.0.0.1:9")
    said = failure("http://service.invalid/v1", requests(2), tmp_path / "j")
    assert "nothing listens at the proxy in HTTP_PROXY" in said
    assert "secret" not in said


def test_a_proxy_that_refuses_is_named(
    chat_service: Start, requests: Requests, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = chat_service(lambda _: refusal("Proxy Authentication Required", 407))
    monkeypatch.setenv("HTTPS_PROXY", proxy.url.removesuffix("/v1"))
    monkeypatch.setenv("HTTP_PROXY", proxy.url.removesuffix("/v1"))
    said = failure("https://service.invalid/v1", requests(2), tmp_path / "j")
    assert "the proxy in HTTPS_PROXY refuses it" in said
    said = failure("http://service.invalid/v1", requests(20), tmp_path / "k")
    assert "The proxy wants a user and a password (HTTP 407)" in said
    assert len(proxy.sent) == 1


def test_a_service_that_is_too_slow_is_told_after_three_rounds(
    chat_service: Start, requests: Requests, tmp_path: Path
) -> None:
    import time

    def reply(_: Sent) -> Response:
        time.sleep(1.5)
        return chat("late")

    server = chat_service(reply)
    said = failure(server.url, requests(4), tmp_path / "j", timeout_seconds=0.3, max_concurrency=1)
    assert "failed 3 times in a row" in said
    assert "no answer within 0.3 s; raise llm.timeout_seconds or lower llm.max_concurrency" in said
    assert len(server.sent) == 3


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """Return a PEM file with a key and a certificate that no authority signed."""
    x509 = pytest.importorskip("cryptography.x509")
    import ipaddress

    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(timezone.utc)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = tmp_path / "service.pem"
    path.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return path


def test_a_certificate_of_a_private_authority_is_told_and_can_be_trusted(
    chat_service: Start,
    requests: Requests,
    tmp_path: Path,
    certificate: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = chat_service(lambda _: chat("fine"), certificate=certificate)
    said = failure(server.url, requests(20), tmp_path / "j")
    assert "TLS: the certificate of 127.0.0.1" in said
    assert "name the PEM file of your CA in SSL_CERT_FILE" in said
    assert server.sent == []
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with OpenAICompatibleLLM(model="m", base_url=server.url).open(tmp_path / "j") as engine:
        (answer,) = engine.complete(requests(1))
    assert answer.completion is not None
    assert answer.completion.text == "fine"


def test_tls_where_there_is_none_is_told(chat_service: Start, requests: Requests, tmp_path: Path) -> None:
    server = chat_service(lambda _: chat("fine"))
    said = failure(server.url.replace("http://", "https://"), requests(1), tmp_path / "j")
    assert "TLS: no secure connection to 127.0.0.1" in said
    assert "write http:// in llm.base_url" in said


def test_no_tls_where_there_is_some_is_told(
    chat_service: Start, requests: Requests, tmp_path: Path, certificate: Path
) -> None:
    server = chat_service(lambda _: chat("fine"), certificate=certificate)
    url = server.url.replace("https://", "http://")
    said = failure(url, requests(1), tmp_path / "j", give_up_after=2)
    assert "a service with TLS needs https://" in said
