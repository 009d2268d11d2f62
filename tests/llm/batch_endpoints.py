"""Groq's files and batches for the loopback server: everything is done as soon as it is asked about twice."""

from __future__ import annotations

import json
import re
from email.parser import BytesParser
from typing import Any


class Batches:
    """The endpoints ``/openai/v1/files`` and ``/openai/v1/batches``."""

    def __init__(self, server: Any) -> None:
        self._server = server
        self._files: dict[str, bytes] = {}
        self._batches: dict[str, dict[str, Any]] = {}
        self.polls_needed = 2
        self.created = 0
        self.outcome = "completed"

    async def handle(self, method: str, path: str, headers: dict[str, str], body: bytes) -> None:
        """Answer, by raising the server's Reply, if the path is one of these."""
        from tests.llm.groq_server import Reply

        if (method, path) == ("POST", "/openai/v1/files"):
            name = f"file_{len(self._files)}"
            self._files[name] = _uploaded(headers["content-type"], body)
            raise Reply(200, {"id": name, "object": "file", "bytes": len(body), "purpose": "batch"})
        if found := re.fullmatch(r"/openai/v1/files/(\w+)/content", path):
            raise Reply(200, self._files[found.group(1)])
        if (method, path) == ("POST", "/openai/v1/batches"):
            raise Reply(200, self._create(json.loads(body)))
        if (method, path) == ("GET", "/openai/v1/batches"):
            raise Reply(200, {"object": "list", "data": list(self._batches.values())})
        if found := re.fullmatch(r"/openai/v1/batches/(\w+)", path):
            raise Reply(200, self._poll(found.group(1)))

    def _create(self, asked: dict[str, Any]) -> dict[str, Any]:
        self.created += 1
        batch = {
            "id": f"batch_{self.created}",
            "object": "batch",
            "endpoint": asked["endpoint"],
            "input_file_id": asked["input_file_id"],
            "completion_window": asked["completion_window"],
            "created_at": 1,
            "status": "validating",
            "polls": 0,
        }
        self._batches[batch["id"]] = batch
        return batch

    def _poll(self, name: str) -> dict[str, Any]:
        batch = self._batches[name]
        batch["polls"] += 1
        batch["status"] = "in_progress"
        if batch["polls"] >= self.polls_needed:
            batch["status"] = self.outcome
            if "output_file_id" not in batch:
                batch |= self._work(batch["input_file_id"])
        return batch

    def _work(self, source: str) -> dict[str, Any]:
        from tests.llm.groq_server import Reply, completion, digest

        good, bad = [], []
        for line in self._files[source].decode().splitlines():
            asked = json.loads(line)
            try:
                self._server.check(asked["body"])
            except Reply as reply:
                bad.append({"custom_id": asked["custom_id"], "response": None, "error": reply.body["error"]})
                continue
            payload = completion(asked["body"], self._server.settings.content(asked["body"]))
            self._server.counts.answered[digest(asked["body"])] += 1
            good.append({"custom_id": asked["custom_id"], "response": {"status_code": 200, "body": payload}})
        names = {}
        for kind, rows in (("output", good), ("error", bad)):
            if rows:
                names[f"{kind}_file_id"] = name = f"file_{len(self._files)}"
                self._files[name] = b"".join(json.dumps(row).encode() + b"\n" for row in rows)
        return names


def _uploaded(content_type: str, body: bytes) -> bytes:
    message = BytesParser().parsebytes(f"content-type: {content_type}\r\n\r\n".encode() + body)
    for part in message.get_payload():
        if 'name="file"' in str(part["content-disposition"]):
            return bytes(part.get_payload(decode=True))
    raise ValueError("no file in the form")
