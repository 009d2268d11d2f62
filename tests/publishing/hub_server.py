"""A stand-in of the Hugging Face Hub's API on loopback: accounts, repositories, LFS uploads and commits."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

TOKEN = "hf_" + "stand1n" * 5
USER = "ada"
LARGE = 1024
"""Files of more bytes, and weights, go through LFS."""


@dataclass
class Hub:
    """What the stand-in knows, and what it is told to answer.

    Attributes:
        url: Its address.
        repos: Repository -> whether it is private.
        files: Repository -> path -> content.
        commits: Repository -> the messages of its commits.
        refuse: Part of a path -> the status with which it is answered.
        paths: The paths that were asked, in order.
    """

    url: str = ""
    repos: dict[str, bool] = field(default_factory=dict)
    files: dict[str, dict[str, bytes]] = field(default_factory=dict)
    commits: dict[str, list[str]] = field(default_factory=dict)
    refuse: dict[str, int] = field(default_factory=dict)
    paths: list[str] = field(default_factory=list)
    stored: dict[str, bytes] = field(default_factory=dict)

    def write(self, repo: str, folder: Path) -> Path:
        """Write the files of a repository into a folder, as a download would."""
        for name, content in self.files[repo].items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        return folder


class Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        self.route(
            {r"/api/whoami-v2": self.whoami, r"/api/models/([^/]+/[^/]+)(?:/revision/main)?": self.info}
        )

    def do_POST(self) -> None:
        self.route(
            {
                r"/api/repos/create": self.create,
                r"/api/validate-yaml": self.validate,
                r"/api/models/([^/]+/[^/]+)/preupload/main": self.preupload,
                r"/([^/]+/[^/]+)\.git/info/lfs/objects/batch": self.batch,
                r"/api/models/([^/]+/[^/]+)/commit/main": self.commit,
            }
        )

    def do_PUT(self) -> None:
        self.route({r"/lfs/([0-9a-f]+)": self.store})

    def route(self, routes: dict[str, Any]) -> None:
        path = unquote(urlsplit(self.path).path)
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.hub.paths.append(path)
        for part, status in self.hub.refuse.items():
            if part in path:
                return self.answer({"error": f"no {part}"}, status)
        if not path.startswith("/lfs/") and self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self.answer({"error": "Invalid credentials"}, 401)
        for pattern, answer in routes.items():
            if found := re.fullmatch(pattern, path):
                return answer(*found.groups())
        return self.answer({"error": f"no such path: {path}"}, 404)

    def answer(self, value: object, status: int = 200, **headers: str) -> None:
        content = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        for name, text in headers.items():
            self.send_header(name.replace("_", "-"), text)
        self.end_headers()
        self.wfile.write(content)

    def whoami(self) -> None:
        self.answer({"type": "user", "name": USER, "orgs": [{"name": "analysts"}]})

    def info(self, repo: str) -> None:
        if repo not in self.hub.repos:
            return self.answer({"error": "not found"}, 404, X_Error_Code="RepoNotFound")
        return self.answer(
            {"id": repo, "private": self.hub.repos[repo], "sha": "0" * 40, "siblings": [], "tags": []}
        )

    def create(self) -> None:
        asked = json.loads(self.body)
        repo = f"{asked['organization'] or USER}/{asked['name']}"
        self.hub.repos[repo] = asked["visibility"] == "private"
        self.answer({"url": f"{self.hub.url}/{repo}", "id": repo, "name": repo})

    def validate(self) -> None:
        self.answer({"errors": [], "warnings": []})

    def preupload(self, repo: str) -> None:
        asked = json.loads(self.body)["files"]
        large = [each["size"] > LARGE or each["path"].endswith(".safetensors") for each in asked]
        modes = [
            {"path": each["path"], "uploadMode": "lfs" if lfs else "regular", "shouldIgnore": False}
            for each, lfs in zip(asked, large, strict=True)
        ]
        self.answer({"files": modes, "commitOid": "0" * 40})

    def batch(self, repo: str) -> None:
        objects = [
            {**each, "actions": {"upload": {"href": f"{self.hub.url}/lfs/{each['oid']}"}}}
            for each in json.loads(self.body)["objects"]
        ]
        self.answer({"transfer": "basic", "objects": objects})

    def store(self, oid: str) -> None:
        if hashlib.sha256(self.body).hexdigest() != oid:
            return self.answer({"error": "wrong content"}, 422)
        self.hub.stored[oid] = self.body
        return self.answer({})

    def commit(self, repo: str) -> None:
        files = self.hub.files.setdefault(repo, {})
        for line in self.body.splitlines():
            entry = json.loads(line)
            value = entry["value"]
            if entry["key"] == "header":
                self.hub.commits.setdefault(repo, []).append(value["summary"])
            elif entry["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif entry["key"] == "lfsFile":
                files[value["path"]] = self.hub.stored[value["oid"]]
        self.answer(
            {"success": True, "commitOid": "1" * 40, "commitUrl": f"{self.hub.url}/{repo}/commit/{'1' * 40}"}
        )


@contextmanager
def started() -> Iterator[Hub]:
    """Run the stand-in in a thread of this process, and stop it at the end."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"hub": hub}))
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
