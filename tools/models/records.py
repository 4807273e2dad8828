"""Frozen dataclasses as JSON and back, by their annotations: one form for each value, nothing passed over.

int, bool, str and None are themselves; bytes are hexadecimal; enumerations go by name; tuples are arrays;
floats are texts with six decimals, so that the bytes of a document do not depend on how a machine prints.
"""

import types
import typing
from dataclasses import fields, is_dataclass
from enum import IntEnum
from functools import cache
from typing import Any, Final, TypeVar, get_args, get_origin

_MAX_SIZE: Final = 1 << 63

_T = TypeVar("_T")


class RecordError(ValueError):
    """JSON that is not of the type due; the message begins with the path of what is wrong."""


def write_record(value: object) -> Any:
    """The JSON form of a value.

    Raises:
        TypeError: if it is of none of the types above: a mistake in our own declarations.
    """
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, IntEnum):
        return value.name
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        return f"{value:.6f}"
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, tuple):
        return [write_record(item) for item in value]
    if is_dataclass(value):
        kind: Any = type(value)
        return {name: write_record(getattr(value, name)) for name in _members(kind)}
    raise TypeError(f"{type(value)} has no JSON form")


def read_record(kind: type[_T], value: object, *, path: str = "$") -> _T:
    """A value of a type from its JSON form.

    Raises:
        RecordError: something is missing, unknown or of another type.
        ValueError: the type itself refuses, as `ProgramError` of a manifest.
    """
    result: _T = _read(kind, value, path)
    return result


def _read(kind: Any, value: object, path: str) -> Any:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (typing.Union, types.UnionType):
        present = next(item for item in arguments if item is not type(None))
        return None if value is None else _read(present, value, path)
    if origin is tuple:
        return _read_tuple(arguments, value, path)
    if is_dataclass(kind):
        return _read_dataclass(kind, value, path)
    if issubclass(kind, IntEnum):
        _require(isinstance(value, str) and value in kind.__members__, path, kind.__name__, value)
        return kind[value]
    return _read_plain(kind, value, path)


def _read_plain(kind: Any, value: object, path: str) -> Any:
    if kind is int:
        _require(type(value) is int and -_MAX_SIZE <= value < _MAX_SIZE, path, "an integer", value)
    elif kind is bytes or kind is float:
        _require(isinstance(value, str), path, "a text", value)
        try:
            return bytes.fromhex(value) if kind is bytes else float(value)  # type: ignore[arg-type]
        except ValueError:
            _require(False, path, f"the text of {kind.__name__}", value)
    else:
        _require(type(value) is kind, path, kind.__name__, value)
    return value


def _read_tuple(arguments: tuple[Any, ...], value: object, path: str) -> tuple[Any, ...]:
    _require(isinstance(value, list), path, "an array", value)
    items = typing.cast(list[Any], value)
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        kinds = (arguments[0],) * len(items)
    else:
        kinds = arguments
        _require(len(items) == len(kinds), path, f"an array of {len(kinds)}", value)
    return tuple(
        _read(kind, item, f"{path}[{i}]") for i, (kind, item) in enumerate(zip(kinds, items, strict=True))
    )


def _read_dataclass(kind: Any, value: object, path: str) -> Any:
    due = _members(kind)
    _require(isinstance(value, dict) and value.keys() == due.keys(), path, f"an object of {list(due)}", value)
    found = typing.cast(dict[str, Any], value)
    return kind(**{name: _read(hint, found[name], f"{path}.{name}") for name, hint in due.items()})


@cache
def _members(kind: type[Any]) -> dict[str, Any]:
    """The members of a dataclass and their annotations, without those that follow from the others."""
    hints = typing.get_type_hints(kind)
    return {field.name: hints[field.name] for field in fields(kind) if field.init}


def _require(holds: bool, path: str, due: str, value: object) -> None:
    if not holds:
        raise RecordError(f"{path}: {due} is due, got {str(value)[:80]}")
