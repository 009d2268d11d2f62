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
    closings = list(_CLOSING.finditer(text))
    # A tag within the answer itself, as in a question about such tags, stands behind its first bracket.
    for closing in reversed(closings):
        rest = text[closing.end() :]
        if "{" in rest or "[" in rest or closing is closings[0]:
            return rest if not _OPENING.match(rest) else ""
    return "" if _OPENING.match(text) else text
