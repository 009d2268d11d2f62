"""What each model accepts in a request's body, learnt from what its service refuses."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from embexp.errors import EmbexpError
from embexp.services.request_errors import RejectedError

log = logging.getLogger(__name__)


_LENGTHS = ("max_tokens", "max_completion_tokens")
_OPTIONAL = ("temperature", "seed", "stop", "reasoning_effort")
_NO_SYSTEM = re.compile(
    r"system (?:role|message|instruction)s?.{0,40}(?:not|n't)|roles must alternate"
    r"|developer instruction is not enabled",
    re.IGNORECASE,
)


@dataclass
class _Changes:
    """What to change in the bodies for one model."""

    renamed: dict[str, str] = field(default_factory=dict)
    dropped: set[str] = field(default_factory=set)
    most_tokens: int | None = None
    joins_system: bool = False


class ModelParameters:
    """Fits request bodies to models: each refusal of a parameter changes all later bodies for that model.

    Args:
        required: The parameters that the user gave by name; a refusal of one of these ends the run.
    """

    def __init__(self, required: Sequence[str] = ()) -> None:
        self._required = tuple(required)
        self._changes: dict[str, _Changes] = {}

    def fit(self, model: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Return a body without what its model refuses."""
        changes = self._changes.get(model)
        if changes is None:
            return dict(body)
        fitted = {
            changes.renamed.get(name, name): value
            for name, value in body.items()
            if name not in changes.dropped
        }
        for name in _LENGTHS:
            if changes.most_tokens is not None and name in fitted:
                fitted[name] = min(fitted[name], changes.most_tokens)
        if changes.joins_system and "messages" in fitted:
            fitted["messages"] = _without_system(fitted["messages"])
        return fitted

    def learn(self, model: str, body: Mapping[str, Any], refusal: RejectedError) -> bool:
        """Change what is sent to a model, once, where a refusal names a part of the body.

        Args:
            model: The model.
            body: The body that was refused.
            refusal: What the service said.

        Returns:
            Whether the request can be sent again in another form.

        Raises:
            EmbexpError: The refused parameter is one that the user gave by name.
        """
        said = str(refusal)
        changes = self._changes.setdefault(model, _Changes())
        if _NO_SYSTEM.search(said) and any(turn["role"] == "system" for turn in body.get("messages", ())):
            return self._join_system(model, changes, said)
        name = self._named(body, refusal)
        if name in self._required:
            raise EmbexpError(
                f"{model} refuses llm.extra_body.{name} ({said}): take it out, or give a value that this "
                "service knows."
            )
        if name is None or name in changes.dropped or name in changes.renamed:
            return name is not None  # another request got the same refusal a moment before
        if name in _LENGTHS:
            return self._change_length(model, changes, name, body, said)
        changes.dropped.add(name)
        log.warning("%s rejects %s=%s; leaving it out from now on (%s).", model, name, body[name], said)
        return True

    def _named(self, body: Mapping[str, Any], refusal: RejectedError) -> str | None:
        """Return the changeable parameter of a body that a refusal names; the first one in its words."""
        candidates = [name for name in (*self._required, *_LENGTHS, *_OPTIONAL) if name in body]
        for name in refusal.named:
            if name in candidates:
                return name
        said = str(refusal)
        places = {name: _place(name, said) for name in candidates}
        named = [name for name in candidates if places[name] >= 0]
        return min(named, key=lambda name: places[name], default=None)

    def _change_length(
        self, model: str, changes: _Changes, name: str, body: Mapping[str, Any], said: str
    ) -> bool:
        (other,) = (one for one in _LENGTHS if one != name)
        smaller = [int(number) for number in re.findall(r"\d+", said) if 1 < int(number) < body[name]]
        if smaller and other not in said:
            changes.most_tokens = max(smaller)
            log.warning("%s writes at most %d tokens; lowering %s.", model, changes.most_tokens, name)
        elif other in changes.renamed:
            changes.dropped.update(_LENGTHS)
            log.warning("%s refuses %s too, so no limit is sent (%s).", model, name, said)
        else:
            changes.renamed[name] = other
            log.info("%s expects %s instead of %s; using it from now on.", model, other, name)
        return True

    def _join_system(self, model: str, changes: _Changes, said: str) -> bool:
        if not changes.joins_system:
            changes.joins_system = True
            log.info(
                "%s takes no system message; putting it before the user's from now on (%s).", model, said
            )
        return True


def _place(name: str, said: str) -> int:
    """Return where a text names a parameter, -1 where it does not; a common word must stand in quotes."""
    pattern = rf"[\"'`]{name}[\"'`]" if name == "stop" else rf"(?<![\w.-]){name}(?!\w)"
    match = re.search(pattern, said)
    return match.start() if match else -1


def _without_system(messages: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
    """Return the messages with the system's text in front of the first user message."""
    system = [turn["content"] for turn in messages if turn["role"] == "system"]
    others = [dict(turn) for turn in messages if turn["role"] != "system"]
    if others and system:
        others[0]["content"] = "\n\n".join([*system, others[0]["content"]])
    return others
