"""Secrets are masked in all that a run leaves or says: log, configuration, MLflow, errors and the terminal.

What counts as a secret: the value of a setting, a header or an environment variable whose name says so
(``password``, ``api_key``, ``token`` …), the password in an address, and what looks like a key of a known
service. The values of secret settings (``remember_secrets``) and variables are masked wherever they turn up.
"""

from __future__ import annotations

import base64
import binascii
import io
import json
import logging
import os
import re
import sys
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from functools import cache, lru_cache
from html import escape
from typing import BinaryIO, TextIO
from urllib.parse import quote, quote_plus, unquote

MASK = "********"

_NAME = (
    r"(?:\w*(?:password|passwd|passphrase|secret)s?|pwd|(?:[a-z0-9]+)?api[_\-]?keys?|access[_\-]?keys?"
    r"|private[_\-]?keys?|secret[_\-]?keys?|(?:auth|access|refresh|session|id|hf)?token|credentials?"
    r"|(?:proxy[_\-])?authorization|auth|(?:set[_\-])?cookies?|signature|jwt|bearer)"
)
_SECRET_KEY = re.compile(rf"(?:^|[_.\-/\[\s]){_NAME}(?:$|[./\[\]])", re.IGNORECASE)
_HARMLESS_KEY = re.compile(r"(?:pad|mask|unk|cls|sep|bos|eos|special|extra)_token$", re.IGNORECASE)
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z][a-z])")
_SECRET_VARIABLE = re.compile(r"(?:^|_|[a-z])KEY$", re.IGNORECASE)
_NOT_SECRET_VARIABLES = ("PWD", "OLDPWD")

_TOKENS = re.compile(
    r"\b(?:gsk_|sk-|hf_|ghp_|gho_|ghs_|github_pat_|glpat-|xox[abprs]-|AKIA|ASIA|AIza)[A-Za-z0-9_\-]{12,}"
    r"|\beyJ[A-Za-z0-9_\-]{10,}\.[A-Za-z0-9_\-]{10,}(?:\.[A-Za-z0-9_\-]*)?"
    r"|\b(?:Bearer|Digest|Negotiate|ApiKey)\s+(?=[^\s]*[\d=._~+/\-])[A-Za-z0-9._~+/\-]{8,}=*"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)",
    re.DOTALL,
)
_BASIC = re.compile(r"\bBasic\s+(?P<value>[A-Za-z0-9+/_\-]{4,}={0,2})", re.IGNORECASE)
_ADDRESS = re.compile(r"\b[a-z][a-z0-9+.\-]{0,30}://[^\s:/?#]{0,256}:", re.IGNORECASE)
"""The beginning of an address that may hold a password, up to where that begins."""
_WHOLE_ADDRESS = re.compile(r"[a-z][a-z0-9+.\-]*://[^:/?#]*:(?P<value>.+)@[^@]*", re.IGNORECASE | re.DOTALL)
_KEY = re.compile(r"(?<![\w.\-])(?P<key>[\w.\-]+)(?:\\?['\"])?[ \t]{0,3}(?P<sign>[=:])(?!:)[ \t]*")
_QUOTED = re.compile(r"\\?(?P<quote>['\"])(?P<value>(?:\\.|(?!(?P=quote)).)*)", re.DOTALL)
_HEADER = re.compile(
    r"(?P<value>(?:(?:Basic|Bearer|Digest|Negotiate|Token|ApiKey)[ \t]+)?\S+)", re.IGNORECASE
)
_LINE = re.compile(r"(?P<value>[^\n]*)")
_WORD = re.compile(r"(?P<value>\S*[^\s,;)}\]'\"`])")
_OVERRIDE = re.compile(r"[+~]{0,2}(?P<key>[\w.\-/@]+)=(?P<value>.*)", re.DOTALL)
_HYDRA_MARKS = re.compile(r"[\\()\[\]{}:=, \t]")
_NOT_SECRET = re.compile(
    r"(?:|null|none|~|true|false|\?\?\?|…|\.\.\.|\*+|\$\{[^},]*\}|\[\]|\{\})[.,;:`]*", re.IGNORECASE
)
_PROSE = re.compile(r"[a-z]+[.,;:]?|[({\[].*")
"""What follows a colon in a sentence, as in ``the token: give one``; in a listing, too, it is masked."""

_LONGEST_KEY = 256
_SHORTEST = 4
_LONG = 8
"""Remembered values from this length on are masked within longer words as well."""
_PLACEHOLDERS = frozenset(
    (
        "none",
        "null",
        "true",
        "false",
        "test",
        "dummy",
        "fake",
        "local",
        "empty",
        "token",
        "secret",
        "password",
    )
)
_known: set[str] = set()


class _MaskedRecord(logging.LogRecord):
    """A log record whose message, traceback and stack hold no secret, whatever handler writes it."""

    def __init__(self, *args: object, **more: object) -> None:
        super().__init__(*args, **more)  # type: ignore[arg-type]
        try:
            message = self.getMessage()
        except (TypeError, ValueError, KeyError):  # a mistake in the call, which logging reports
            message = f"{self.msg} {self.args}"
        self.msg, self.args = masked_text(message), None
        if self.exc_info and self.exc_info[1] is not None:
            self.exc_text = masked_traceback(self.exc_info[1])
        if self.stack_info:
            self.stack_info = masked_text(self.stack_info)


def mask_logging() -> None:
    """Mask every log line of this process from now on, of all loggers and for all handlers."""
    logging.setLogRecordFactory(_MaskedRecord)


def masked_traceback(error: BaseException) -> str:
    """Return a traceback as Python prints it, without a final newline, secrets masked."""
    return masked_text("".join(traceback.format_exception(error)).rstrip("\n"))


class _MaskedStream(io.TextIOBase):
    """A stream of the terminal; what libraries print there holds no secret either."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._stream.encoding

    @property
    def buffer(self) -> BinaryIO:
        return self._stream.buffer

    def write(self, text: str) -> int:
        self._stream.write(masked_text(text))
        return len(text)

    def flush(self) -> None:
        self._stream.flush()

    def isatty(self) -> bool:
        return self._stream.isatty()

    def fileno(self) -> int:
        return self._stream.fileno()

    def writable(self) -> bool:
        return True


@contextmanager
def masked_terminal() -> Iterator[None]:
    """Mask what is printed to the terminal within the block."""
    with redirect_stdout(_MaskedStream(sys.stdout)), redirect_stderr(_MaskedStream(sys.stderr)):
        yield


def is_secret_key(key: str) -> bool:
    """Return whether a config key, dotted or not, names a secret (``llm.api_key``, ``password``).

    Keys that count tokens (``max_tokens``) or name an environment variable (``api_key_env``) do not.
    """
    spelt = _CAMEL.sub("_", key[-_LONGEST_KEY:])
    return bool(_SECRET_KEY.search(spelt)) and not _HARMLESS_KEY.search(spelt)


def remember_secrets(value: object, key: str = "") -> None:
    """Mask the secrets of a configuration wherever they turn up in this process from now on.

    Args:
        value: A configuration, a part of it, or an override of the command line.
        key: Its key.
    """
    if isinstance(value, Mapping):
        for name, item in value.items():
            remember_secrets(item, f"{key}.{name}" if key else str(name))
    elif isinstance(value, str):
        _remember_text(value, key)
    elif isinstance(value, Sequence):
        for item in value:
            remember_secrets(item, key)
    elif isinstance(value, int | float) and not isinstance(value, bool) and is_secret_key(key):
        _known.add(str(value))


def masked_text(text: str) -> str:
    """Return a text with whatever is or looks like a secret replaced by asterisks.

    Covers remembered values, keys of known services, headers, passwords in addresses, and ``api_key=…`` or
    ``api_key: …`` as in command lines, YAML, JSON and queries of addresses.
    """
    if pattern := _known_pattern(frozenset(_known.union(_environment_secrets()))):
        text = pattern.sub(MASK, text)
    text = _TOKENS.sub(MASK, text)
    spans = [match.span("value") for match in _BASIC.finditer(text) if _is_basic(match["value"])]
    return _without(text, [*_in_addresses(text), *spans, *_assigned(text)])


def masked(value: object, *, key: str = "") -> object:
    """Return a copy of a nested configuration in which every secret is replaced by asterisks.

    Args:
        value: A mapping, a sequence or a plain value.
        key: The key of ``value``; a secret's key masks everything below it.
    """
    if isinstance(value, Mapping):
        return {name: masked(item, key=f"{key}.{name}" if key else str(name)) for name, item in value.items()}
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int | float):
        return MASK if is_secret_key(key) else value
    if isinstance(value, str):
        return MASK if is_secret_key(key) and not _NOT_SECRET.fullmatch(value) else _masked_leaf(value)
    if isinstance(value, Sequence):
        return [masked(item, key=key) for item in value]
    return value


def _masked_leaf(text: str) -> str:
    """Return a text that is a whole value: an address or an override may hold spaces within its secret."""
    override = _OVERRIDE.fullmatch(text)
    if override and is_secret_key(_key_of(override)) and not _NOT_SECRET.fullmatch(override["value"]):
        return _without(text, [override.span("value")])
    if address := _WHOLE_ADDRESS.fullmatch(text):
        text = _without(text, [address.span("value")])
    return masked_text(text)


def _key_of(override: re.Match[str]) -> str:
    return override["key"].replace("@", ".")


def _remember_text(text: str, key: str) -> None:
    override = _OVERRIDE.fullmatch(text)
    if key.endswith("_env") and (named := os.environ.get(text)):
        _known.add(named)
    elif is_secret_key(key) and not _NOT_SECRET.fullmatch(text):
        _known.add(text)
    elif override and is_secret_key(_key_of(override)):
        value = override["value"]
        values = [value, *value.split(",")]  # several values of a multirun
        values += [each[1:-1] for each in values if each[:1] in "'\"" and each[-1:] == each[:1]]
        _known.update(each for each in values if not _NOT_SECRET.fullmatch(each))
    else:
        _known.update(_passwords_of(text))
        _known.update(text[start:end] for start, end in _assigned(text))


def _passwords_of(address: str) -> Iterator[str]:
    """Yield the password of an address, as it stands, decoded, and in the parts that a library may see."""
    whole = _WHOLE_ADDRESS.fullmatch(address)
    span = whole.span("value") if whole else next(_in_addresses(address), None)
    if span is None:
        return
    user, given = address[: span[0] - 1].rpartition("://")[2], address[slice(*span)]
    for password in dict.fromkeys((given, unquote(given))):
        yield password
        yield from (part for part in re.split(r"[@/:?#&=\s]", password) if len(part) >= _SHORTEST)
        yield base64.b64encode(f"{unquote(user)}:{password}".encode(errors="replace")).decode()


def _environment_secrets() -> Iterator[str]:
    """Yield the values of variables whose names say secret, and the passwords of addresses in others."""
    for name, value in os.environ.items():
        if _names_secret(name):
            if not (value[:1] in "/~" and os.path.exists(os.path.expanduser(value))):  # noqa: PTH110, PTH111
                yield value.strip()
        elif _WHOLE_ADDRESS.fullmatch(value):
            yield from _passwords_of(value)
        elif name.lower().endswith("_proxy") and "@" in value:
            yield from _passwords_of(f"http://{value}")


@cache
def _names_secret(variable: str) -> bool:
    if variable in _NOT_SECRET_VARIABLES:
        return False
    return is_secret_key(variable) or bool(_SECRET_VARIABLE.search(variable))


@lru_cache(maxsize=64)
def _known_pattern(values: frozenset[str]) -> re.Pattern[str] | None:
    """Return a pattern of these values in every spelling that a file, a message or an address has."""
    spellings = {
        spelling
        for value in values
        if len(value) >= _SHORTEST and value.lower() not in _PLACEHOLDERS and set(value) != {"*"}
        for spelling in _spellings(value)
    }
    if not spellings:
        return None
    longest_first = sorted(spellings, key=lambda each: (-len(each), each))
    return re.compile("|".join(_bounded(spelling) for spelling in longest_first))


def _bounded(spelling: str) -> str:
    literal = re.escape(spelling)
    if len(spelling) >= _LONG:
        return literal
    start = r"(?<!\w)" if spelling[0].isalnum() else ""
    end = r"(?!\w)" if spelling[-1].isalnum() else ""
    return f"{start}{literal}{end}"


def _spellings(value: str) -> Iterable[str]:
    """Return a value as it stands, encoded for an address or HTML, and escaped once or twice."""
    plain = {value, value.strip(), unquote(value)}
    found = set(plain)
    for each in plain:
        found |= {quote(each, safe=""), quote(each), quote_plus(each), escape(each)}
        found |= {escape(each, quote=False), each.replace("'", "''")}
        found.add(escape(each, quote=False).replace('"', "&#34;").replace("'", "&#39;"))  # jinja's spelling
        once = _escaped(each)
        found |= once
        for spelling in once:
            found |= _escaped(spelling)
    return {each for each in found if len(each) >= _SHORTEST}


def _escaped(text: str) -> set[str]:
    """Return a text as JSON, Python, a shell and Hydra write it between quotes."""
    return {
        json.dumps(text)[1:-1],
        json.dumps(text, ensure_ascii=False)[1:-1],
        repr(text)[1:-1],
        repr(text + "'\"")[1:-4],
        text.replace("\\", "\\\\"),
        text.replace("'", "'\"'\"'"),
        text.replace("'", "\\'"),
        text.replace('"', '\\"'),
        _HYDRA_MARKS.sub(r"\\\g<0>", text),
    }


def _in_addresses(text: str) -> Iterator[tuple[int, int]]:
    """Yield the place of the password in each address; it ends at the last ``@`` before a space."""
    at = 0
    while match := _ADDRESS.search(text, at):
        space = re.compile(r"\s").search(text, match.end())
        at = space.start() if space else len(text)
        end = text.rfind("@", match.end(), at)
        if end > match.end():
            yield match.end(), end


def _assigned(text: str) -> Iterator[tuple[int, int]]:
    """Yield the place of each value of a secret key, as in ``token=…`` and ``token: …``."""
    at = 0
    while match := _KEY.search(text, at):
        at = match.end()
        if not is_secret_key(match["key"]):
            at = match.end("key") + 1
            continue
        value = _value_at(text, match)
        if value is None or _NOT_SECRET.fullmatch(value["value"]):
            continue
        yield value.span("value")
        at = value.end("value")


def _value_at(text: str, key: re.Match[str]) -> re.Match[str] | None:
    """Return what is assigned to a key: up to the closing quote, the end of its line, or of its word."""
    at, name = key.end(), key["key"].lower()
    if quoted := _QUOTED.match(text, at):
        return quoted
    before = text[text.rfind("\n", 0, key.start()) + 1 : key.start()].strip(" \t-+'\"")
    if key["sign"] == ":" and (not before or name.endswith(("cookie", "cookies"))):
        return _LINE.match(text, at)
    if "auth" in name:
        return _HEADER.match(text, at)
    word = _WORD.match(text, at)
    if key["sign"] == ":" and "-" not in name and word and _PROSE.fullmatch(word["value"]):
        return None
    return word


def _is_basic(value: str) -> bool:
    """Return whether this is a user and a password as in HTTP, and not the word after basic."""
    try:
        return b":" in base64.b64decode(value + "=" * (-len(value) % 4), altchars=b"-_", validate=False)
    except (binascii.Error, ValueError):
        return False


def _without(text: str, spans: Iterable[tuple[int, int]]) -> str:
    """Return a text with these parts replaced by asterisks; parts that overlap become one."""
    parts, at = [], 0
    for start, end in sorted(spans):
        if start >= at:
            parts += [text[at:start], MASK]
        at = max(at, end)
    return "".join([*parts, text[at:]])
