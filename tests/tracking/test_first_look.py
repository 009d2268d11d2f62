"""The first look at a server uses the settings of MLflow's own client, and says which one is missing."""

from __future__ import annotations

import base64
import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import trustme

from embexp.errors import TrackingError
from embexp.tracking.mlflow_server import reach_server
from embexp.tracking.mlflow_store import store_errors

TOKEN, LOGIN = "Bearer s3cret", "Basic " + base64.b64encode(b"ada:s3cret").decode()
VARIABLES = ("TOKEN", "USERNAME", "PASSWORD", "SERVER_CERT_PATH", "CLIENT_CERT_PATH", "INSECURE_TLS")
AUTHORITY = trustme.CA()


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(f"MLFLOW_TRACKING_{name}", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))  # MLflow reads logins from ~/.mlflow/credentials, too


@pytest.fixture(scope="session")
def authority_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("authority") / "ca.pem"
    AUTHORITY.cert_pem.write_to_path(str(file))
    return file


Answer = tuple[int, str, str]
"""Status, kind and body."""


@contextmanager
def server(*, tls: bool = False, wanted: str = "", answer: Answer | None = None) -> Iterator[str]:
    """A stand-in for a tracking server that answers the search for experiments, and asks for a login."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, kind, body = answer or (200, "application/json", json.dumps({"experiments": []}))
            if wanted and self.headers.get("authorization") != wanted:
                status, kind, body = 401, "text/plain", "not authenticated"
            self.send_response(status)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, format: str, *args: object) -> None:
            pass

    httpd = HTTPServer(("127.0.0.1", 0), Handler)
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        AUTHORITY.issue_cert("127.0.0.1").configure_cert(context)
        httpd.socket = context.wrap_socket(httpd.socket, server_side=True)
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    try:
        yield f"http{'s' if tls else ''}://127.0.0.1:{httpd.server_port}"
    finally:
        httpd.shutdown()
        httpd.server_close()


def test_a_certificate_of_an_own_authority_is_trusted_where_the_client_trusts_it(
    authority_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with server(tls=True) as address:
        with pytest.raises(TrackingError, match="no certificate that is trusted here") as raised:
            reach_server(address)
        assert "MLFLOW_TRACKING_SERVER_CERT_PATH" in str(raised.value)
        monkeypatch.setenv("MLFLOW_TRACKING_SERVER_CERT_PATH", str(authority_file))
        reach_server(address)


def test_no_certificate_is_checked_where_the_client_checks_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_INSECURE_TLS", "true")
    monkeypatch.setattr("warnings.filters", [("ignore", None, Warning, None, 0)])
    with server(tls=True) as address:
        reach_server(address)


def test_a_file_of_an_authority_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_SERVER_CERT_PATH", "/nowhere/ca.pem")
    with server(tls=True) as address, pytest.raises(TrackingError, match=r"/nowhere/ca\.pem.*correct it"):
        reach_server(address)


def test_settings_that_contradict_each_other_are_told(
    authority_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_SERVER_CERT_PATH", str(authority_file))
    monkeypatch.setenv("MLFLOW_TRACKING_INSECURE_TLS", "true")
    with pytest.raises(TrackingError, match="must not be set"), store_errors("https://x"):
        reach_server("https://127.0.0.1:9")


@pytest.mark.parametrize(
    ("wanted", "variables"),
    [(TOKEN, {"TOKEN": "s3cret"}), (LOGIN, {"USERNAME": "ada", "PASSWORD": "s3cret"})],
    ids=["token", "login"],
)
def test_a_login_is_sent(wanted: str, variables: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    with server(wanted=wanted) as address:
        with pytest.raises(TrackingError, match=r"refuses the login \(HTTP 401\)") as raised:
            reach_server(address)
        assert "MLFLOW_TRACKING_TOKEN" in str(raised.value)
        for name, value in variables.items():
            monkeypatch.setenv(f"MLFLOW_TRACKING_{name}", value)
        reach_server(address)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ((403, "application/json", "{}"), "refuses the login"),
        ((407, "text/plain", ""), "proxy before .* wants a login"),
        ((200, "text/html; charset=utf-8", "<p>Sign in"), r"no MLflow server \(HTTP 200, text/html\)"),
        ((404, "text/plain", "no such page"), r"no MLflow server \(HTTP 404, text/plain\)"),
    ],
)
def test_an_answer_that_is_no_mlflow_s_is_told(answer: Answer, message: str) -> None:
    with server(answer=answer) as address, pytest.raises(TrackingError, match=message):
        reach_server(address)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_wrong_scheme_is_no_missing_server_alone(scheme: str) -> None:
    with server(tls=scheme == "http") as address:
        other = address.replace("https" if scheme == "http" else "http", scheme)
        with pytest.raises(TrackingError, match=f"{scheme}://127") as raised:
            reach_server(other)
    assert ("without TLS needs http://" in str(raised.value)) == (scheme == "https")
