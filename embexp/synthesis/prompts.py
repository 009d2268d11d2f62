"""Prompts: their template files, the description of a domain, and passages quoted so that they stay data."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from embexp.errors import ConfigError
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
    """A passage as a prompt shows it; ``mark`` is a digest of its text, which the text cannot contain."""

    number: int
    mark: str
    text: str


def printable(text: str) -> str:
    """Return the text without characters that print nothing and could hide or break something."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\f", "\n")
    return _CONTROL.sub("", text)


def shorten(text: str, limit: int) -> str:
    """Return at most ``limit`` characters, cut at a space where there is one near the end."""
    if len(text) <= limit:
        return text
    head = text[:limit]
    at = max(head.rfind(" "), head.rfind("\n"))
    return (head[:at] if at > limit * 0.8 else head).rstrip()


def quoted(number: int, text: str, *, limit: int) -> Quoted:
    """Return a passage ready to stand in a prompt.

    Args:
        number: How the prompt calls it.
        text: A passage of any origin and length.
        limit: The most characters to show.
    """
    shown = _GAP.sub("\n\n", printable(shorten(text, 2 * limit))).strip()
    shown = shorten(shown, limit)
    return Quoted(number, sha256_of(shown)[:8], shown)


SPLIT = "=== user ==="
"""The line of a template that parts the system message from the user's."""
MAX_TEMPLATE_BYTES = 1 << 20


def default_folder() -> Path:
    """Return the folder of our own templates: inside an installed package, else beside it."""
    return conf_dir() / "prompts"


@dataclass(frozen=True)
class Prompts:
    """Renders ``NAME.jinja``, from ``folder`` where it holds one, else from our own.

    A file of the user's may start with ``{% extends "default/rag.jinja" %}`` and replace one block.
    The environment is sandboxed, and a name that the code does not provide is an error.

    Args:
        folder: A folder with templates of the user's own; empty for ours alone.
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
                f"rag.jinja (ours are in {default_folder()}), or leave it empty."
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
            values: What the template may use; texts are inserted as they stand and never read as templates.

        Raises:
            ConfigError: The template is missing, is not valid Jinja, or uses a name that it is not given.
        """
        from jinja2 import TemplateError, TemplateNotFound

        try:
            text = self._environment.get_template(f"{name}.jinja").render(values)
        except TemplateNotFound as error:
            raise ConfigError(
                f"The prompt {error.name} is neither in {self.folder!r} nor among ours."
            ) from error
        except TemplateError as error:
            line = getattr(error, "lineno", None)
            where = f"{name}.jinja:{line}" if line else f"{name}.jinja"
            raise ConfigError(f"The prompt {where} cannot be rendered: {error.message}.") from error
        system, found, user = text.partition(f"{SPLIT}\n")
        if not found:
            raise ConfigError(f"The prompt {name}.jinja lacks the line {SPLIT!r} before the user's message.")
        parts = (("system", system.strip()), ("user", user.strip()))
        return tuple(Message(role, content) for role, content in parts if content)

    def fingerprint(self) -> str:
        """Return a digest of every template file that could be used."""
        folders = [default_folder(), *([Path(self.folder)] if self.folder else [])]
        files = [path for folder in folders for path in sorted(folder.glob("*")) if path.is_file()]
        return sha256_of([(path.name, path.read_bytes()[:MAX_TEMPLATE_BYTES].hex()) for path in files])


CHARACTERS = 8000
"""What is shown of a description; a longer one is cut."""
LONGEST_NAME = 300
SUFFIXES = (".md", ".txt")


def domain_text(domain: str) -> str:
    """Return the description: the text itself, or what the file of that name holds.

    Args:
        domain: A text, the path of a file, or the name of a file among our prompts.

    Raises:
        ConfigError: A file that does not exist was named, or there is no text.
    """
    text = domain
    if domain.strip() and len(domain) <= LONGEST_NAME and "\n" not in domain:
        path = next((path for path in (Path(domain), default_folder() / domain) if path.is_file()), None)
        if path is not None:
            with path.open(encoding="utf-8", errors="replace") as stream:
                text = stream.read(4 * CHARACTERS)
        elif domain.endswith(SUFFIXES) and " " not in domain:
            raise ConfigError(f"synthesis.domain={domain}: no such file; name one, or give a description.")
    text = shorten(printable(text).replace("</domain>", "").strip(), CHARACTERS)
    if not text:
        raise ConfigError("synthesis.domain is empty: describe the domain in a few sentences.")
    return text
