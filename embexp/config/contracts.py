"""Whether a component of the user's has the methods that embexp calls, with the arguments that it passes."""

from __future__ import annotations

import inspect
from typing import Any, get_args, get_type_hints

from embexp.user_code import UserCodeError, is_users, place_of


def check_contract(component: object, name: str) -> None:
    """Refuse a component of the user's that lacks a part of its protocol; embexp's own are tested.

    Args:
        component: The component.
        name: Its group, such as ``benchmark``.

    Raises:
        UserCodeError: A method or attribute is missing, or a method does not take the arguments.
    """
    from typing_extensions import get_protocol_members

    owner, protocol = type(component), _protocol(name)
    if protocol is None or not is_users(inspect.getfile(owner)):
        return
    for member in sorted(get_protocol_members(protocol)):
        if not hasattr(component, member):
            raise UserCodeError(
                f"{place_of(owner)}: {owner.__qualname__} has no {member!r}, which {name} needs: add it as "
                f"{protocol.__module__}.{protocol.__name__} describes it."
            )
        wanted = inspect.getattr_static(protocol, member, None)  # None for an attribute without a value
        if inspect.isfunction(wanted) and not _accepts(getattr(component, member), wanted):
            raise UserCodeError(
                f"{place_of(owner)}: {owner.__qualname__}.{member} has to take the arguments "
                f"{_without_self(inspect.signature(wanted))}, as {protocol.__module__}.{protocol.__name__} "
                "describes them."
            )


def _protocol(name: str) -> type | None:
    """Return the protocol of a group; None where its options are of a class of embexp's."""
    from typing_extensions import is_protocol

    from embexp.pipeline.experiment import Experiment

    hint = get_type_hints(Experiment).get(name)
    kinds = [kind for kind in (get_args(hint) or (hint,)) if inspect.isclass(kind) and is_protocol(kind)]
    return kinds[0] if kinds else None


def _accepts(method: Any, wanted: Any) -> bool:
    """Return whether a method can be called with the arguments that the protocol's requires."""
    parameters = list(inspect.signature(wanted).parameters.values())[1:]  # without self
    required = [each for each in parameters if each.default is each.empty]
    positional = [each.name for each in required if each.kind is not each.KEYWORD_ONLY]
    named = {each.name: None for each in required if each.kind is each.KEYWORD_ONLY}
    try:
        inspect.signature(method).bind(*positional, **named)
    except (TypeError, ValueError):
        return False
    return True


def _without_self(signature: inspect.Signature) -> str:
    names = [each.name for each in list(signature.parameters.values())[1:]]
    return f"({', '.join(names)})"
