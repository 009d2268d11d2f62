"""A real MLflow tracking server on loopback."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import requests
import trustme

from tests.postgres_server import free_port

SECONDS = 180


@contextmanager
def started(folder: Path, *, backend: str = "", authority: trustme.CA | None = None) -> Iterator[str]:
    """Run ``mlflow server`` with its files in ``folder`` and yield its address; stop it at the end.

    With an authority, the server has a certificate that it issued, and ``folder/ca.pem`` is the authority's.
    """
    port = free_port()
    backend = backend or f"sqlite:///{folder / 'server.db'}"
    files = ["--artifacts-destination", str(folder / "artifacts")]
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", backend, *files]
    scheme, certificate = "http", None
    if authority is not None:
        scheme, certificate = "https", folder / "ca.pem"
        authority.cert_pem.write_to_path(str(certificate))
        authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(
            str(folder / "server.pem")
        )
        pem = folder / "server.pem"
        command += ["--uvicorn-opts", f"--ssl-keyfile {pem} --ssl-certfile {pem}"]
    server = subprocess.Popen(
        [*command, "--host", "127.0.0.1", "--port", str(port), "--workers", "1"],
        cwd=folder,
        env={**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"},
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        wait_for(f"{scheme}://127.0.0.1:{port}/health", server, certificate)
        yield f"{scheme}://127.0.0.1:{port}"
    finally:
        stop(server)


def wait_for(address: str, server: subprocess.Popen[bytes], certificate: Path | None = None) -> None:
    """Return once the address answers; fail when the server has ended or the time is up."""
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        if server.poll() is not None:
            raise RuntimeError(f"the server for {address} has ended")
        try:
            if requests.get(address, timeout=5, verify=str(certificate or "") or True).ok:
                return
        except requests.RequestException:
            time.sleep(0.5)
    raise TimeoutError(f"{address} does not answer")


def stop(server: subprocess.Popen[bytes]) -> None:
    """End a server that leads a session of its own, with all its workers."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        if server.poll() is None:
            os.killpg(server.pid, sign)
        with suppress(subprocess.TimeoutExpired):
            server.wait(timeout=15)
            return
