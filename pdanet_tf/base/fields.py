"""Checks the fields of dataclasses against their annotations."""

import dataclasses
import difflib
import math
import operator
import os
import types
import typing
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

_LARGEST = 2**63  # integers must fit into 64 bits
_NAMES = {int: "integer", float: "finite number", str: "string", bool: "boolean"}
_LONGEST = 100  # length of a value in a message, in characters


def check_fields(instance: Any) -> None:
    """Converts each field of a dataclass to its annotated type, in place.

    Call it in `__post_init__`. It supports `int`, `float`, `bool`, `str`, tuples of them,
    `... | None`, "one or several in any order", such as `int | tuple[int, ...]`, "a name or
    numbers", such as `str | tuple[float, ...]`, "a number or a text", such as `int | str`,
    `Mapping[str, Any]` for values of JSON, and `Mapping[str, str]` and the like.

    Raises:
        ValueError: If a field has another type; the message names the field.
    """
    for name, hint in typing.get_type_hints(type(instance)).items():
        object.__setattr__(instance, name, convert_field(name, getattr(instance, name), hint))


def convert_field(name: str, value: Any, hint: Any) -> Any:
    """Converts a value to an annotated type.

    Integers are accepted for `float`, lists and arrays for tuples, paths for `str`, and NumPy's
    numbers for Python's. Booleans are not accepted as numbers, and strings are never parsed.

    For "one or several in any order", such as `int | tuple[int, ...]`, equal sets of values give
    equal results: a sequence of one becomes its element, a longer one is sorted.

    Args:
        name: Name of the value, for the message.
        value: The value.
        hint: The annotated type.

    Raises:
        ValueError: If the value has another type, is not finite, or exceeds 64 bits.
    """
    try:
        return _convert(value, hint)
    except (TypeError, OverflowError):
        raise ValueError(
            f"{name} must be {_describe(hint)}. Received: {name}={shorten(value)} "
            f"({type(value).__name__})"
        ) from None


def from_mapping(cls: type, content: Mapping[str, Any]) -> Any:
    """Builds a dataclass from the content of a JSON object.

    Raises:
        ValueError: If a name is unknown or missing, or a value is wrong. The message lists all
            unknown names, with the nearest known name for each, and all missing ones.
    """
    fields = {field.name: field for field in dataclasses.fields(cls)}
    unknown = sorted(content.keys() - fields.keys())
    missing = [
        name
        for name, field in fields.items()
        if name not in content
        and field.default is dataclasses.MISSING
        and field.default_factory is dataclasses.MISSING
    ]
    if unknown or missing:
        found = [f"unknown: {with_nearest(unknown, fields)}"] if unknown else []
        found += [f"missing: {', '.join(missing)}"] if missing else []
        raise ValueError("; ".join(found))
    return cls(**content)


def with_nearest(unknown: Iterable[str], known: Iterable[str]) -> str:
    """Formats unknown names for a message, each with the nearest known name.

    Example:
        `with_nearest(["epoch", "xyz"], ["epochs", "seed"])` returns
        `"'epoch' (did you mean 'epochs'?), 'xyz'"`.
    """
    known = list(known)
    described = []
    for name in unknown:
        spelled = name[:_LONGEST].lower().replace("-", "_")
        near = difflib.get_close_matches(spelled, known, n=1)
        described.append(shorten(name) + (f" (did you mean {near[0]!r}?)" if near else ""))
    return ", ".join(described)


def shorten(value: Any) -> str:
    """Returns the representation of a value on one line of bounded length."""
    if isinstance(value, int) and abs(value) >= _LARGEST:
        return f"an integer of {value.bit_length()} bits"  # Python limits the digits it prints
    text = " ".join(repr(value).split())
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def _convert(value: Any, hint: Any) -> Any:
    """Returns the converted value; raises TypeError or OverflowError."""
    if isinstance(hint, types.UnionType):  # `... | None`
        parts = [part for part in typing.get_args(hint) if part is not type(None)]
        if value is None and len(parts) < len(typing.get_args(hint)):
            return None
        return _convert_one_or_several(value, *parts)
    if typing.get_origin(hint) is tuple:
        return _convert_tuple(value, typing.get_args(hint))
    if typing.get_origin(hint) is Mapping:
        kind = typing.get_args(hint)[1]
        return {
            _only(key, str): _as_tuples(part) if kind is Any else _convert(part, kind)
            for key, part in _only(value, Mapping).items()
        }
    if hint is bool:
        return bool(_only(value, bool, np.bool_))
    if hint is str:
        return str(os.fspath(_only(value, str, os.PathLike)))
    if isinstance(value, bool | np.bool_):
        raise TypeError
    if hint is int:
        number = operator.index(value)
        if isinstance(value, np.ndarray) or not -_LARGEST <= number < _LARGEST:
            raise OverflowError
        return number
    if hint is float:
        real = float(_only(value, float, int, np.floating, np.integer))
        if not math.isfinite(real):
            raise OverflowError
        return real
    return _only(value, hint)


def _convert_one_or_several(value: Any, one: Any, several: Any = None) -> Any:
    """Returns one value, or a tuple of several; without `several` only one is allowed.

    `several` may also be `str`: the value is then of the one type or a string. A tuple is sorted,
    and a tuple of one becomes its element, if its elements have the type of the one value.
    """
    if several is str and isinstance(value, str):
        return value
    if several is None or not isinstance(value, tuple | list | np.ndarray):
        return _convert(value, one)
    parts = typing.get_args(several)
    values = _convert_tuple(value, parts)
    if parts[0] is not one:
        return values
    return values[0] if len(values) == 1 else tuple(sorted(values))


def _convert_tuple(value: Any, parts: tuple[Any, ...]) -> tuple[Any, ...]:
    values = _only(value, tuple, list, np.ndarray)
    hints = [parts[0]] * len(values) if parts[-1] is ... else list(parts)
    if len(values) != len(hints):
        raise TypeError
    return tuple(_convert(each, hint) for each, hint in zip(values, hints, strict=True))


def _as_tuples(value: Any) -> Any:
    """Returns a value of JSON with tuples in place of lists, and Python's numbers for NumPy's.

    Raises:
        TypeError: If the value cannot be written as JSON.
    """
    if isinstance(value, list | tuple | np.ndarray):
        return tuple(_as_tuples(part) for part in value)
    if isinstance(value, np.generic):
        return value.item()
    return _only(value, str, int, float, bool, type(None))


def _only(value: Any, *kinds: Any) -> Any:
    if not isinstance(value, kinds):
        raise TypeError
    return value


def _describe(hint: Any) -> str:
    """Returns a description of the expected type."""
    if isinstance(hint, types.UnionType):
        *others, last = (
            "None" if part is type(None) else _describe(part) for part in typing.get_args(hint)
        )
        return f"{', '.join(others)} or {last}"
    if typing.get_origin(hint) is tuple:
        return f"a sequence of {_describe_parts(hint)}"
    if typing.get_origin(hint) is Mapping:
        kind = typing.get_args(hint)[1]
        values = "values (strings, numbers, booleans, or sequences of them)"
        return f"an object of names and {values if kind is Any else f'{_NAMES.get(kind, kind)}s'}"
    name = _NAMES.get(hint, getattr(hint, "__name__", str(hint)))
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def _describe_parts(hint: Any) -> str:
    part, *more = typing.get_args(hint)
    count = "" if more[-1:] == [...] else f"{len(more) + 1} "
    if typing.get_origin(part) is tuple:
        return f"{count}sequences of {_describe_parts(part)}"
    return f"{count}{_NAMES.get(part, part)}s"
