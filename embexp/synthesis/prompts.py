"""Prompts are template files: ours in conf/prompts, and a user's own folder that takes precedence."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import embexp
from embexp.errors import ConfigError
from embexp.storage.files import sha256_of
from embexp.types import Message

if TYPE_CHECKING:
    from jinja2.sandbox import SandboxedEnvironment

SPLIT = "=== user ==="
"""The line of a template that parts the system message from the user's."""
MAX_TEMPLATE_BYTES = 1 << 20


def default_folder() -> Path:
    """Return the folder of our own templates: inside an installed package, else beside it."""
    package = Path(embexp.__file__).parent
    installed = package / "conf" / "prompts"
    return installed if installed.is_dir() else package.parent / "conf" / "prompts"


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
