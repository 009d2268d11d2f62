"""Prompts: templates, quoted passages, the description of a domain, and examples of your own."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from embexp.errors import ConfigError, DataError
from embexp.llm.llm import Message
from embexp.package import conf_dir
from embexp.storage.files import sha256_of

if TYPE_CHECKING:
    from jinja2.sandbox import SandboxedEnvironment

# C0 and C1 controls but tab and newline, zero-width and bidirectional marks, lone surrogates, non-characters.
_CONTROL = re.compile(
    "[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff0-\uffff\ud800-\udfff]"
)


_GAP = re.compile(r"\n{3,}")


@dataclass(frozen=True, slots=True)
class Quoted:
    """A passage in a prompt; ``mark`` is a digest of its text, which the text itself cannot contain."""

    number: int
    mark: str
    text: str


def printable(text: str) -> str:
    """Return the text without invisible and control characters."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\f", "\n")
    return _CONTROL.sub("", text)


def shorten(text: str, limit: int) -> str:
    """Return at most ``limit`` characters, cut at a space where there is one near the end."""
    if len(text) <= limit:
        return text
    head = text[:limit]
    at = max(head.rfind(" "), head.rfind("\n"))
    return (head[:at] if at > limit * 0.8 else head).rstrip()


def one_line(text: str, limit: int) -> str:
    """Return a text on one line without control characters, at most ``limit`` long."""
    return shorten(" ".join(printable(text[: 4 * limit]).split()), limit)


def quoted(number: int, text: str, *, limit: int) -> Quoted:
    """Return a passage quoted for a prompt, so that it cannot forge its end.

    Args:
        number: Its number in the prompt.
        text: A passage of any origin and length.
        limit: The most characters to show.
    """
    shown = _GAP.sub("\n\n", printable(shorten(text, 2 * limit))).strip()
    shown = shorten(shown, limit)
    return Quoted(number, sha256_of(shown)[:8], shown)


_SPLIT = "=== user ==="
"""The line of a template that separates the system message from the user's."""
_MAX_TEMPLATE_BYTES = 1 << 20


def default_folder() -> Path:
    """Return the folder of the packaged templates."""
    return conf_dir() / "prompts"


@dataclass(frozen=True)
class Prompts:
    """Renders ``NAME.jinja`` from ``folder`` where it exists there, else the packaged one.

    A template of yours may start with ``{% extends "default/rag.jinja" %}`` and replace one block.
    The environment is sandboxed, and an unknown name is an error.

    Args:
        folder: A folder with templates of your own; empty for the packaged ones alone.
    """

    folder: str = ""

    @cached_property
    def _environment(self) -> SandboxedEnvironment:
        from jinja2 import ChoiceLoader, FileSystemLoader, PrefixLoader, StrictUndefined
        from jinja2.sandbox import ImmutableSandboxedEnvironment

        ours = FileSystemLoader(default_folder())
        if self.folder and not Path(self.folder).is_dir():
            raise ConfigError(
                f"synthesis.prompts={self.folder}: no such folder; name one that holds templates such as "
                f"rag.jinja (the packaged ones are in {default_folder()}), or leave it empty."
            )
        theirs = [FileSystemLoader(self.folder)] if self.folder else []
        return ImmutableSandboxedEnvironment(
            loader=ChoiceLoader([*theirs, ours, PrefixLoader({"default": ours})]),
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )

    def messages(self, name: str, **values: object) -> tuple[Message, ...]:
        """Render ``NAME.jinja`` and return its system message, if it has one, and its user message.

        Args:
            name: The template's name without its suffix.
            values: The names that the template may use; texts are inserted as they are.

        Raises:
            ConfigError: The template is missing, is not valid Jinja, or uses a name that it is not given.
        """
        from jinja2 import TemplateError, TemplateNotFound

        try:
            text = self._environment.get_template(f"{name}.jinja").render(values)
        except TemplateNotFound as error:
            raise ConfigError(
                f"The prompt {error.name} is neither in {self.folder!r} nor packaged."
            ) from error
        except TemplateError as error:
            line = getattr(error, "lineno", None)
            where = f"{name}.jinja:{line}" if line else f"{name}.jinja"
            raise ConfigError(f"The prompt {where} cannot be rendered: {error.message}.") from error
        system, separator, user = text.partition(f"{_SPLIT}\n")
        if not separator:
            raise ConfigError(f"The prompt {name}.jinja lacks the line {_SPLIT!r} before the user's message.")
        parts = (("system", system.strip()), ("user", user.strip()))
        return tuple(Message(role, content) for role, content in parts if content)

    def fingerprint(self) -> str:
        """Return a digest of all template files."""
        folders = [default_folder(), *([Path(self.folder)] if self.folder else [])]
        files = [path for folder in folders for path in sorted(folder.glob("*")) if path.is_file()]
        return sha256_of([(path.name, path.read_bytes()[:_MAX_TEMPLATE_BYTES].hex()) for path in files])


_CHARACTERS = 8000
"""A longer description is cut."""
_LONGEST_NAME = 300
_SUFFIXES = (".md", ".txt")


def domain_text(domain: str) -> str:
    """Return the description of a domain.

    Args:
        domain: The description itself, the path of a file with it, or the name of a packaged file.

    Raises:
        ConfigError: The file does not exist, or there is no text.
    """
    text = domain
    if domain.strip() and len(domain) <= _LONGEST_NAME and "\n" not in domain:
        path = next((path for path in (Path(domain), default_folder() / domain) if path.is_file()), None)
        if path is not None:
            with path.open(encoding="utf-8", errors="replace") as stream:
                text = stream.read(4 * _CHARACTERS)
        elif domain.endswith(_SUFFIXES) and " " not in domain:
            raise ConfigError(f"synthesis.domain={domain}: no such file; name one, or give a description.")
    text = shorten(printable(text).replace("</domain>", "").strip(), _CHARACTERS)
    if not text:
        raise ConfigError("synthesis.domain is empty: describe the domain in a few sentences.")
    return text


_MOST = 1000
_PASSAGE_CHARACTERS = 600


@dataclass(frozen=True, slots=True)
class Example:
    """A query of a real user, and a passage that answers it (or nothing)."""

    query: str
    passage: str = ""


def read_examples(path: Path, *, passages: bool) -> list[Example]:
    """Read examples from JSON Lines: ``{"query": "…", "passage": "…"}``, or ``positive`` for ``passage``.

    Args:
        path: The file; its first 1,000 examples are used.
        passages: Whether each example must have a passage.

    Raises:
        ConfigError: There is no such file.
        DataError: A line is not such an object; the message names file and line.
    """
    if not path.is_file():
        raise ConfigError(
            f"synthesis.examples={path}: no such file; give one with a JSON object on each line."
        )
    examples: list[Example] = []
    with path.open(encoding="utf-8") as stream:
        for number, line in enumerate(stream, start=1):
            if line.strip() and len(examples) < _MOST:
                examples.append(_example(line, f"{path}:{number}", passages=passages))
    if not examples:
        raise DataError(f"{path}: no example in it; write one JSON object on each line.")
    return examples


def _example(line: str, where: str, *, passages: bool) -> Example:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise DataError(
            f'{where}: not JSON ({error}); write {{"query": …, "passage": …}} on one line.'
        ) from error
    row = row if isinstance(row, dict) else {}
    query, passage = row.get("query"), row.get("passage", row.get("positive", ""))
    if not isinstance(query, str) or not query.strip():
        raise DataError(f'{where}: "query" is {query!r}; give the text of a query.')
    if not isinstance(passage, str) or (passages and not passage.strip()):
        raise DataError(f'{where}: "passage" is {passage!r}; a model that only completes text needs one.')
    return Example(one_line(query, 300), one_line(passage, _PASSAGE_CHARACTERS))
