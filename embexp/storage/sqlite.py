"""The address of a SQLite file, which may have any name."""

from __future__ import annotations

from pathlib import Path

from embexp.errors import ConfigError


def sqlite_address(file: Path) -> str:
    """Return ``sqlite:///FILE`` as SQLAlchemy reads it, with ``%`` and ``?`` in the path escaped.

    Unescaped, a question mark would begin the address' options, and the file be created elsewhere.

    Raises:
        ConfigError: The installed SQLAlchemy cannot express the path.
    """
    path = file.as_posix()
    if not set(path) & set("%?"):
        return f"sqlite:///{path}"
    from sqlalchemy.engine import URL, make_url

    address = URL.create("sqlite", database=path).render_as_string(hide_password=False)
    if make_url(address).database != path:
        raise ConfigError(
            f"{path} has a % or ? in its path, which this SQLAlchemy cannot open: use another folder."
        )
    return address
