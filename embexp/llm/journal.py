"""The journal: every answer on disk the moment it arrives, one JSON object a line, only appended."""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from embexp.errors import DataError, EmbexpError
from embexp.llm.llm import Completion, Request, Usage
from embexp.llm.sent_requests import Sent, SentRequests
from embexp.storage.files import sha256_of, space_checked, sync

log = logging.getLogger(__name__)


_BLOCK = 1 << 16


def request_key(request: Request, identity: Mapping[str, object]) -> str:
    """Return the SHA-256 that identifies a request to a model.

    Args:
        request: The request; its tag does not count.
        identity: The model and the settings that shape every answer.
    """
    parts = asdict(request)
    parts.pop("tag")
    return sha256_of(dict(identity), parts)


class Journal:
    """The answers in one file, with an index of keys and offsets in memory.

    An incomplete last line (after a kill) is removed when the file is opened. One process writes at a time.

    ``sent`` holds the requests whose answers have not arrived, in a file beside the journal. ``spent`` is
    what the answers and, at most, those requests have cost.

    Args:
        path: The file; created where it does not exist.
        identity: The model and the settings that shape every answer; part of every line.
    """

    def __init__(self, path: Path, identity: Mapping[str, object]) -> None:
        self.path = path
        self.identity = dict(identity)
        self.spent = 0.0
        self._index: dict[bytes, int] = {}
        self._pending: list[asyncio.Future[None]] = []
        self._flusher: asyncio.Task[None] | None = None
        with space_checked(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._lock = FileLock(path.with_name(f"{path.name}.lock"))
            self._claim()
            try:
                self._file = path.open("a+b")
                sync(path.parent)
                self.sent = SentRequests(path.with_name(f"{path.stem}.sent{path.suffix}"))
                self._end = self._synced = self._recover()
                self.sent.start()
                self.spent += self.sent.lost_usd()
            except BaseException:
                self._lock.release()
                raise
        self._disk = ThreadPoolExecutor(1, thread_name_prefix="journal")

    def _claim(self) -> None:
        try:
            self._lock.acquire(timeout=0)
        except Timeout as error:
            raise EmbexpError(
                f"{self.path} is in use by another run: wait until it has finished, or end it, and run "
                "the same command again."
            ) from error

    def _recover(self) -> int:
        """Index the complete lines, cut off an incomplete last one, and return where the next line begins."""
        end = 0
        self._file.seek(0)
        for number, line in enumerate(self._file, start=1):
            if not line.endswith(b"\n"):
                log.info("%s: the last line is incomplete; its request is sent again.", self.path)
                self._file.truncate(end)
                break
            self._remember(line, end, number)
            end += len(line)
        return end

    def _remember(self, line: bytes, offset: int, number: int) -> None:
        try:
            record = json.loads(line)
            self._index[bytes.fromhex(record["key"])] = offset
            self.spent += float(record["usd"])
            self.sent.answered(str(record.get("sent", "")))
        except (ValueError, KeyError, TypeError) as error:
            log.warning(
                "%s:%d: not a line of the journal (%s); its request is sent again.",
                self.path,
                number,
                error,
            )

    def __len__(self) -> int:
        return len(self._index)

    def find(self, key: str) -> Completion | None:
        """Return the answer with this key, or None; may be called from any thread."""
        offset = self._index.get(bytes.fromhex(key))
        if offset is None:
            return None
        return completion_of(json.loads(_line_at(self._file.fileno(), offset)))

    def write(self, key: str, completion: Completion, *, tag: str = "", sent: Sent | None = None) -> None:
        """Write an answer at once, so that it outlives this process; ``synced`` waits for the disk.

        Args:
            key: The key of the request.
            completion: The answer.
            tag: What the request was for.
            sent: The record of the request, which the answer settles.

        Raises:
            EmbexpError: The disk is full.
        """
        self._write([(key, self._line(key, completion, tag, sent))])
        if sent is not None:
            self.sent.settle(sent)

    async def synced(self) -> None:
        """Return when all that was written would survive a power cut, too.

        Answers that arrive while the disk is busy are flushed together.

        Raises:
            EmbexpError: The disk is full.
        """
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._pending.append(done)
        if self._flusher is None or self._flusher.done():
            self._flusher = asyncio.create_task(self._flush())
        await done

    async def _flush(self) -> None:
        while self._pending:
            group, self._pending, end = self._pending, [], self._end
            try:
                await asyncio.get_running_loop().run_in_executor(self._disk, self._sync)
            except (OSError, EmbexpError) as error:
                self._take_back()
                group, self._pending = [*group, *self._pending], []
                _end_all(group, error)
                return
            self._synced = end
            _end_all(group)

    def _take_back(self) -> None:
        """Remove the lines that did not reach the disk."""
        os.ftruncate(self._file.fileno(), self._synced)
        self._index = {key: offset for key, offset in self._index.items() if offset < self._synced}
        self._end = self._synced

    def _sync(self) -> None:
        with space_checked(self.path):
            os.fsync(self._file.fileno())

    def _write(self, lines: Iterable[tuple[str, bytes]]) -> None:
        """Hand lines to the operating system, which keeps them if this process is killed."""
        for key, data in lines:
            with space_checked(self.path):
                try:
                    rest = memoryview(data)
                    while rest:
                        rest = rest[os.write(self._file.fileno(), rest) :]
                except OSError:
                    os.ftruncate(self._file.fileno(), self._end)
                    raise
            self._index[bytes.fromhex(key)] = self._end
            self._end += len(data)

    def append_now(self, items: Iterable[tuple[str, Completion]], *, tag: str = "") -> None:
        """Write answers and return once they are on disk; for callers without an event loop."""
        self._write((key, self._line(key, completion, tag)) for key, completion in items)
        self._sync()
        self._synced = self._end

    def _line(self, key: str, completion: Completion, tag: str, sent: Sent | None = None) -> bytes:
        record = _record(key, self.identity, completion, tag)
        line = json.dumps({**record, **({"sent": sent.id} if sent else {})}, ensure_ascii=False)
        return line.encode("utf-8", errors="replace") + b"\n"

    async def finish(self) -> None:
        """Return once everything that was appended is on disk."""
        if self._flusher is not None:
            await self._flusher

    def close(self) -> None:
        """Close the file and let other processes write to it."""
        self._disk.shutdown(wait=True)
        self.sent.close()
        self._file.close()
        self._lock.release()


def _end_all(group: Iterable[asyncio.Future[None]], error: Exception | None = None) -> None:
    for done in group:
        if done.done():
            continue
        if error is None:
            done.set_result(None)
        else:
            done.set_exception(error)


def _record(key: str, identity: Mapping[str, object], completion: Completion, tag: str) -> dict[str, Any]:
    return {
        "key": key,
        "asked": dict(identity),
        "tag": tag,
        "model": completion.model,
        "finish_reason": completion.finish_reason,
        "prompt_tokens": completion.usage.prompt_tokens,
        "completion_tokens": completion.usage.completion_tokens,
        "usd": completion.usage.usd,
        "text": completion.text,
    }


def completion_of(record: Mapping[str, Any]) -> Completion:
    """Return the answer that a line of the journal holds."""
    usage = Usage(1, int(record["prompt_tokens"]), int(record["completion_tokens"]), float(record["usd"]))
    return Completion(str(record["text"]), str(record["model"]), str(record["finish_reason"]), usage)


def _line_at(descriptor: int, offset: int) -> bytes:
    parts: list[bytes] = []
    while block := os.pread(descriptor, _BLOCK, offset):
        end = block.find(b"\n")
        if end >= 0:
            return b"".join([*parts, block[:end]])
        parts.append(block)
        offset += len(block)
    return b"".join(parts)


def records(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the offset and the content of each complete line of a journal that no process writes to.

    Raises:
        DataError: The file is not there, or a line is not one of a journal.
    """
    if not path.is_file():
        raise DataError(f"{path}: there is no journal of answers: give the journal.jsonl of an earlier run.")
    offset = 0
    with path.open("rb") as stream:
        for number, line in enumerate(stream, start=1):
            if not line.endswith(b"\n"):
                return
            try:
                record = json.loads(line)
                bytes.fromhex(record["key"])
                completion_of(record)
            except (ValueError, KeyError, TypeError) as error:
                raise DataError(f"{path}:{number}: not a line of a journal ({error}).") from error
            yield offset, record
            offset += len(line)
