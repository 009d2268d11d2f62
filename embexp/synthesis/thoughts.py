"""The thoughts of a reasoning model: what stands before its answer, or in place of one."""

from __future__ import annotations

import re

_NAMES = "think|thinking|thought|thoughts|reasoning|reflection|analysis|scratchpad|seed:think"
_CLOSING = re.compile(
    rf"</(?:{_NAMES})\s*>|\[/THINK(?:ING)?\]|◁/think▷|<\|end_of_thought\|>|<\|/think\|>|<unused95>",
    re.IGNORECASE,
)
_OPENING = re.compile(
    rf"\s*(?:<(?:{_NAMES})\s*>|\[THINK(?:ING)?\]|◁think▷|<\|begin_of_thought\|>|<\|think\|>|<unused94>)",
    re.IGNORECASE,
)
_FINAL = re.compile(r"<\|channel\|>\s*final\b.*?<\|message\|>", re.DOTALL)
_CHANNEL = re.compile(r"\s*(?:<\|start\|>assistant)?<\|channel\|>\s*(?:analysis|commentary)\b")
_BARE_FINAL = re.compile(r"\A\s*analysis\b.*assistantfinal", re.DOTALL)
"""gpt-oss's channels, where a server left out the special tokens."""
_ENDS = re.compile(r"<\|(?:return|end|eot_id|im_end)\|>")


def without_thoughts(text: str) -> str:
    """Return an answer without the thoughts before it.

    All up to the last closing tag goes, whether or not there is an opening one: chat templates often write
    the opening tag into the prompt.

    Args:
        text: The answer as it came.

    Returns:
        The answer; empty where there are only thoughts.
    """
    finals = list(_FINAL.finditer(text))
    if finals:
        return _ENDS.split(text[finals[-1].end() :])[0]
    if _CHANNEL.match(text):
        return ""
    if bare := _BARE_FINAL.match(text):
        return text[bare.end() :]
    for closing in reversed(list(_CLOSING.finditer(text))):
        rest = text[closing.end() :]
        if not _ends_json(rest):
            return "" if _OPENING.match(rest) else rest
    return "" if _OPENING.match(text) else text


def _ends_json(rest: str) -> bool:
    """Return whether the JSON that a text closes began before it: a tag in front is part of the answer."""
    opens = min((at for at in map(rest.find, "{[") if at >= 0), default=len(rest))
    return any(0 <= at < opens for at in map(rest.find, "}]"))
