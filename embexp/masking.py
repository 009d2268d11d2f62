"""Masking of secrets in everything that a run leaves behind: parameters, tags, saved configs and reports."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

MASK = "********"
_NAME = (
    r"(?:api_?keys?|access_?keys?|private_?keys?|secrets?|passwords?|passwd|token|credentials?|authorization)"
)
_SECRET_KEY = re.compile(rf"(?:^|[_.\-/]){_NAME}(?:$|[./])", re.IGNORECASE)
_HARMLESS_KEY = re.compile(r"(?:pad|mask|unk|cls|sep|bos|eos|special|extra)_token$", re.IGNORECASE)
_KNOWN_TOKENS = re.compile(
    r"\b(?:gsk_|sk-|hf_|ghp_|github_pat_|glpat-|xox[abprs]-|AKIA|AIza)[A-Za-z0-9_\-]{12,}"
    r"|\bBearer\s+[A-Za-z0-9._~+/\-]{8,}=*"
)
_URL_PASSWORD = re.compile(r"(?P<start>\b[a-z][a-z0-9+.\-]*://[^\s:/@]*:)[^\s/@]+(?=@)", re.IGNORECASE)
_ASSIGNED = re.compile(
    rf"(?P<start>(?:^|[\s,{{'\"._\-/+]){_NAME}['\"]?(?:=|:\s+))(?P<value>'[^']*'|\"[^\"]*\"|[^\s,}}]+)",
    re.IGNORECASE | re.MULTILINE,
)
_NOT_SECRET_VALUES = {"null", "none", "~", "true", "false", '""', "''", "???"}


def _is_secret_key(key: str) -> bool:
    """Return whether a config key, dotted or not, names a secret (``llm.api_key``, ``password``).

    Keys that count tokens (``max_tokens``) or name an environment variable (``api_key_env``) do not.
    """
    return bool(_SECRET_KEY.search(key)) and not _HARMLESS_KEY.search(key)


def masked_text(text: str) -> str:
    """Return ``text`` with whatever looks like a secret replaced by asterisks.

    Covers well-known token prefixes, bearer headers, passwords in URLs, and ``api_key=…`` or
    ``api_key: …`` as in command lines and YAML.
    """
    text = _KNOWN_TOKENS.sub(MASK, text)
    text = _URL_PASSWORD.sub(rf"\g<start>{MASK}", text)
    return _ASSIGNED.sub(_masked_assignment, text)


def _masked_assignment(match: re.Match[str]) -> str:
    if match["value"].lower() in _NOT_SECRET_VALUES:
        return match[0]
    return match["start"] + MASK


def masked(value: object, *, key: str = "") -> object:
    """Return a copy of a nested config in which every secret is replaced by asterisks.

    Args:
        value: A mapping, a sequence or a plain value.
        key: The key of ``value``; a secret's key masks every text below it.
    """
    if isinstance(value, Mapping):
        return {name: masked(item, key=f"{key}.{name}" if key else str(name)) for name, item in value.items()}
    if isinstance(value, str):
        return MASK if value and _is_secret_key(key) else masked_text(value)
    if isinstance(value, Sequence):
        return [masked(item, key=key) for item in value]
    return value
