"""The description of a domain: a text, or a file that holds one."""

from __future__ import annotations

from pathlib import Path

from embexp.errors import ConfigError
from embexp.synthesis.passages import printable, shorten
from embexp.synthesis.prompts import default_folder

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
