"""What MkDocs adds to the pages: the generated reference, and the pages that lie in the repository's root."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

sys.path.insert(0, str(Path(__file__).parent))

import reference

ROOT = Path(__file__).resolve().parents[2]
ROOT_PAGES = ("CONTRIBUTING.md", "CHANGELOG.md")


def on_files(files: Files, config: Any) -> Files:
    """Add the generated pages, and contributing and changes, which refer to the docs from above."""
    pages = {"reference/options.md": reference.options(), "reference/api.md": reference.api()}
    pages |= {name: _from_root((ROOT / name).read_text(encoding="utf-8")) for name in ROOT_PAGES}
    for name, text in pages.items():
        files.append(File.generated(config, name, content=text))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Let links out of docs/ lead to the pages that are added here, and lists start after a line of text."""
    names = "|".join(re.escape(name) for name in ROOT_PAGES)
    return _spaced(re.sub(rf"\]\(((?:\.\./)*)\.\./({names})", r"](\1\2", markdown))


def _from_root(text: str) -> str:
    """Return a page of the root with links as from docs/; what is not on the site is no link."""
    text = re.sub(r"\]\(docs/", "](", text)
    return re.sub(r"\[([^\]]+)\]\((?!https?:|#)(?![\w/-]+\.md)[^)]*\)", r"\1", text)


def _spaced(markdown: str) -> str:
    """Put an empty line before a list that follows a line of text: Python's Markdown wants one."""
    lines: list[str] = []
    fenced = False
    for line in markdown.splitlines():
        fenced ^= line.lstrip().startswith("```")
        starts = re.match(r"(?:[-*]|\d+\.) ", line)
        after_text = bool(lines) and lines[-1].strip() and not re.match(r"\s*(?:[-*]|\d+\.) |\s", lines[-1])
        if starts and after_text and not fenced:
            lines.append("")
        lines.append(line)
    return "\n".join(lines) + "\n"
