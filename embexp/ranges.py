"""The ranges of numbers in settings: the type of a constructor's argument declares its own.

``epochs: Annotated[int, Interval(ge=1, le=10_000)] = 1`` is all that a setting needs. The check of a
configuration (``embexp.config.check``), the constructor (``check_ranges``) and the tables of
docs/configuration.md read that declaration.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import is_dataclass
from functools import cache
from inspect import isclass
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from annotated_types import Interval

from embexp.errors import ConfigError

if TYPE_CHECKING:
    from pydantic import TypeAdapter

Seed = Annotated[int, Interval(ge=0, le=2**32 - 1)]
"""What numpy takes as a seed."""
Count = Annotated[int, Interval(ge=1, le=1_000_000_000)]
CountOrZero = Annotated[int, Interval(ge=0, le=1_000_000_000)]
Share = Annotated[float, Interval(ge=0, le=1)]
ShareAboveZero = Annotated[float, Interval(gt=0, le=1)]
ShareBelowOne = Annotated[float, Interval(ge=0, lt=1)]
InnerShare = Annotated[float, Interval(gt=0, lt=1)]
Positive = Annotated[float, Interval(gt=0, le=1_000_000)]
NonNegative = Annotated[float, Interval(ge=0, le=1_000_000)]
Seconds = Annotated[float, Interval(gt=0, le=10_000_000)]
"""A time, up to some four months."""
MAX_LABEL = 1_000_000
"""The highest label and grade: trec_eval keeps a counter for each level of relevance up to the highest."""
Label = Annotated[float, Interval(ge=-MAX_LABEL, le=MAX_LABEL)]


def check_ranges(component: Any, place: str) -> None:
    """Check the numbers of a component in its constructor, for those who build it in Python.

    Args:
        component: A dataclass, whose types declare the ranges.
        place: Its key in the configuration, for the message.

    Raises:
        ConfigError: A number is out of range, or is none.
    """
    for name, hint in _numeric_hints(component.__class__).items():
        value = getattr(component, name)
        try:
            typed(hint, list(value) if isinstance(value, tuple) else value)
        except ValueError as error:
            raise ConfigError(f"{place}.{name} is {value!r}: {error}.") from error


def constructor_hints(target: Any) -> dict[str, Any]:
    """Return the types of a constructor's arguments, with their ranges."""
    # The generated constructor of a dataclass resolves names in its own module alone, not in its bases'.
    written = isclass(target) and not is_dataclass(target)
    return get_type_hints(target.__init__ if written else target, include_extras=True)


def typed(hint: Any, value: Any) -> Any:
    """Return a setting's value as its type has it: ``"3"`` and ``3.0`` are 3 where a whole number is wanted.

    Args:
        hint: The argument's type, with its range; a type that pydantic cannot check accepts everything.
        value: The value of the configuration.

    Raises:
        ValueError: The value is of another type or out of range; the message says what to give.
    """
    from pydantic import ValidationError

    adapter = _adapter(hint)
    if adapter is None:
        return value
    wanted = describe(hint)
    try:
        result = adapter.validate_python(value)
    except ValidationError as error:
        problem = str(error.errors()[0]["msg"])
        raise ValueError(f"give {wanted}" if wanted else problem[0].lower() + problem[1:]) from error
    if _truth_as_number(value, result):
        raise ValueError(f"give {wanted}")
    return result if _plain(value) and _plain(result) else value


def describe(hint: Any) -> str:
    """Return in words what to give for a type that holds numbers; an empty text for all others."""
    parts = [_describe_one(part) for part in _alternatives(hint) if part is not NoneType]
    if not numbers_in(hint) or not all(parts):
        return ""
    return ", or ".join(dict.fromkeys(parts)) + (", or null" if NoneType in _alternatives(hint) else "")


def numbers_in(hint: Any) -> list[Any]:
    """Return the types of numbers that a type holds, such as ``Annotated[int, Interval(ge=1)]``."""
    if hint in (int, float):
        return [hint]
    if get_origin(hint) is Annotated:
        return [hint] if get_args(hint)[0] in (int, float) else numbers_in(get_args(hint)[0])
    if get_origin(hint) in (None, type):
        return []
    return [number for part in get_args(hint) for number in numbers_in(part)]


def interval_of(number: Any) -> Interval:
    """Return the range of a type of number; one without ends where none is declared."""
    extras = get_args(number)[1:] if get_origin(number) is Annotated else ()
    return next((extra for extra in extras if isinstance(extra, Interval)), Interval())


def range_text(hint: Any) -> str:
    """Return the range of a setting in short, as docs/configuration.md shows it."""
    return "; ".join(dict.fromkeys(_short(interval_of(number)) for number in numbers_in(hint)))


def senseless(value: Any, place: str = "") -> tuple[str, str] | None:
    """Return the key of the first value that no setting can use, and what is wrong with it.

    Args:
        value: Settings of any nesting.
        place: Their key.
    """
    if isinstance(value, float) and not math.isfinite(value):
        return place, f"{value} is no number to calculate with; give a finite one"
    if isinstance(value, str) and "\0" in value:
        return place, "the text holds a NUL character, which no file, id or service takes; leave it out"
    items: list[tuple[str, Any]] = []
    if isinstance(value, Mapping):
        items = [(f"{place}.{key}" if place else str(key), item) for key, item in value.items()]
    elif isinstance(value, list | tuple):
        items = [(f"{place}[{number}]", item) for number, item in enumerate(value)]
    problems = (senseless(item, key) for key, item in items)
    return next((problem for problem in problems if problem), None)


@cache
def _numeric_hints(kind: type) -> dict[str, Any]:
    names = kind.__dataclass_fields__  # type: ignore[attr-defined]
    hints = constructor_hints(kind).items()
    return {name: hint for name, hint in hints if name in names and numbers_in(hint)}


def _adapter(hint: Any) -> TypeAdapter[Any] | None:
    """Return pydantic's check of a type; None for a user's own type that it cannot check."""
    from pydantic import ConfigDict, TypeAdapter
    from pydantic.errors import PydanticUserError

    try:
        return TypeAdapter(hint, config=ConfigDict(coerce_numbers_to_str=True, allow_inf_nan=False))
    except PydanticUserError:
        return None


def _truth_as_number(value: Any, result: Any) -> bool:
    """Return whether a true or false has become a number."""
    if isinstance(value, Mapping) and isinstance(result, Mapping):
        return any(_truth_as_number(item, result.get(key)) for key, item in value.items())
    if isinstance(value, list | tuple) and isinstance(result, list | tuple):
        return any(_truth_as_number(*items) for items in zip(value, result, strict=False))
    return isinstance(value, bool) and isinstance(result, int | float) and not isinstance(result, bool)


def _plain(value: Any) -> bool:
    """Return whether a value is a number, a text, true or false, or a list of these."""
    if isinstance(value, list):
        return all(isinstance(item, int | float | str) for item in value)
    return isinstance(value, int | float | str)


def _alternatives(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)


def _describe_one(hint: Any) -> str:
    """Return in words what to give for one alternative of a type; an empty text if it is not a plain one."""
    if hint is bool:
        return "true or false"
    if hint is str:
        return "a text"
    if numbers := numbers_in(hint):
        kind, ends = _kind(numbers[0]), _ends(interval_of(numbers[0]))
        if hint == numbers[0]:
            return f"a {kind}{ends}"
        container = "mapping whose values are" if get_origin(hint) in (dict, Mapping) else "list of"
        return f"a {container} {kind}s{ends}"
    if get_origin(hint) is Literal:
        return " or ".join(map(str, get_args(hint)))
    return ""


def _kind(number: Any) -> str:
    return "whole number" if int in (number, *get_args(number)) else "number"


def _ends(interval: Interval) -> str:
    """Return a range in words: `` from 1 to 10``, `` above 0, at most 1``, or nothing without ends."""
    low, high = interval.ge, interval.le
    if low is not None and high is not None:
        return f" from {low:,} to {high:,}"  # type: ignore[str-format]
    words = (("from", low), ("above", interval.gt), ("below", interval.lt), ("at most", high))
    parts = [f"{word} {end:,}" for word, end in words if end is not None]
    return f" {' and '.join(parts)}" if parts else ""


def _short(interval: Interval) -> str:
    ends = (("", interval.ge), ("above ", interval.gt), ("below ", interval.lt), ("", interval.le))
    return " … ".join(f"{word}{end:,}" for word, end in ends if end is not None) or "any"
