"""JSON forms of typed values, driven by their annotations: one definition for server, client and description.

A type is understood if it is built from these:

| type | JSON |
|---|---|
| `Annotated[int, Bits(n)]` | integer; from 2**53 on a decimal string, because JavaScript rounds there |
| `Annotated[int, Signed()]` | integer of either sign |
| `Annotated[bytes, Exactly(n)]`, `Annotated[bytes, AtMost(n)]` | lower-case hexadecimal |
| `Address` | bech32m with the chain's prefix |
| `str`, `Annotated[str, AtMost(n)]`, `bool` | themselves |
| an `IntEnum` | the member's name |
| `tuple[T, ...]` | array |
| `T | None` | null, or T |
| a frozen dataclass | object; members that the reader does not know are passed over |
"""

import builtins
import dataclasses
import enum
import functools
import json
import re
import types
import typing
from collections.abc import Callable
from typing import Annotated, Any, Final, TypeVar, get_args, get_origin

from chain.address import AddressError, decode_address, encode_address
from chain.codec import AtMost, Bits, Exactly

SAFE_INTEGER: Final = 1 << 53
"""From here on a double cannot tell neighbouring integers apart (ECMA-262, Number.MAX_SAFE_INTEGER + 1)."""

_HEX: Final = re.compile(r"(?:[0-9a-f]{2})*\Z")
_DECIMAL: Final = re.compile(r"(?:0|[1-9][0-9]{0,38})\Z")

_T = TypeVar("_T")

Json = None | bool | int | str | list["Json"] | dict[str, "Json"]


class WireError(ValueError):
    """A JSON value that is not of the type due; `path` says where."""

    def __init__(self, path: str, message: str) -> None:
        super().__init__(f"{path}: {message}")
        self.path = path


@dataclasses.dataclass(frozen=True, slots=True)
class Signed:
    """An integer of either sign, below 2**53 in magnitude."""


@dataclasses.dataclass(frozen=True, slots=True)
class AsAddress:
    """A public key shown as a bech32m address."""


Address = Annotated[bytes, Exactly(32), AsAddress()]


@dataclasses.dataclass(frozen=True, slots=True)
class Form:
    """How one type is read, written and described."""

    read: Callable[[Any, str, str], Any]
    """(value, path, address prefix) -> value; raises WireError."""
    write: Callable[[Any, str], Json]
    schema: dict[str, Any]
    """JSON Schema (draft 7, which OpenRPC 1.3 uses)."""


def read(kind: type[_T], value: Json, *, prefix: str, path: str = "$") -> _T:
    """Read a JSON value as `kind`.

    Raises:
        WireError: With the path of the member that is wrong.
    """
    result: _T = form_of(kind).read(value, path, prefix)
    return result


def write(kind: Any, value: object, *, prefix: str) -> Json:
    """Write a value of type `kind` as JSON."""
    return form_of(kind).write(value, prefix)


def form_of(kind: Any) -> Form:
    """The form of a type, compiled once.

    Raises:
        TypeError: The type is none of those listed above: a mistake in our own declarations.
    """
    return _compiled(kind)


@functools.cache
def _compiled(kind: Any) -> Form:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _annotated(arguments[0], arguments[1:])
    if origin in (typing.Union, types.UnionType):
        present = [item for item in arguments if item is not type(None)]
        if len(present) == 1 and len(arguments) == 2:
            return _optional(form_of(present[0]))
    if origin is tuple and len(arguments) == 2 and arguments[1] is Ellipsis:
        return _array(form_of(arguments[0]))
    if kind is str:
        return _text(None)
    if kind is bool:
        return _boolean()
    if isinstance(kind, type) and issubclass(kind, enum.IntEnum):
        return _enumeration(kind)
    if dataclasses.is_dataclass(kind):
        return _record(kind)
    raise TypeError(f"{kind!r} has no JSON form")


def _annotated(base: Any, marks: tuple[Any, ...]) -> Form:
    if any(isinstance(mark, AsAddress) for mark in marks):
        return _address()
    match base, marks[0]:
        case builtins.int, Bits(count=count):
            return _natural(count)
        case builtins.int, Signed():
            return _signed()
        case builtins.bytes, Exactly() | AtMost() as bound:
            return _octets(bound)
        case builtins.str, AtMost(length=length):
            return _text(length)
    raise TypeError(f"{base!r} with {marks!r} has no JSON form")


def _natural(bits: int) -> Form:
    top = 1 << bits

    def read_natural(value: object, path: str, _: str) -> int:
        if isinstance(value, str) and _DECIMAL.match(value):
            value = int(value)
        if type(value) is not int:
            raise WireError(path, f"{_shown(value)} where an integer was due")
        if not 0 <= value < top:
            raise WireError(path, f"{value} is not in [0, 2**{bits})")
        return value

    def write_natural(value: int, _: str) -> Json:
        assert type(value) is int and 0 <= value < top, f"{value!r} is not in [0, 2**{bits})"
        return value if value < SAFE_INTEGER else str(value)

    number: dict[str, Any] = {"type": "integer", "minimum": 0, "maximum": min(top, SAFE_INTEGER) - 1}
    if top <= SAFE_INTEGER:
        return Form(read_natural, write_natural, number)
    text = {"type": "string", "pattern": "^(0|[1-9][0-9]{0,38})$"}
    return Form(read_natural, write_natural, {"oneOf": [number, text]})


def _signed() -> Form:
    def read_signed(value: object, path: str, _: str) -> int:
        if type(value) is not int or abs(value) >= SAFE_INTEGER:
            raise WireError(path, f"{_shown(value)} where an integer below 2**53 was due")
        return value

    return Form(read_signed, lambda value, _: int(value), {"type": "integer"})


def _octets(bound: Exactly | AtMost) -> Form:
    low = bound.length if isinstance(bound, Exactly) else 0

    def read_octets(value: object, path: str, _: str) -> bytes:
        if not isinstance(value, str) or len(value) > 2 * bound.length or not _HEX.match(value):
            raise WireError(path, f"{_shown(value)} where lower-case hexadecimal of {_length(bound)} was due")
        if len(value) < 2 * low:
            raise WireError(path, f"{len(value) // 2} bytes where {_length(bound)} were due")
        return bytes.fromhex(value)

    pattern = f"^([0-9a-f]{{2}}){{{low},{bound.length}}}$"
    return Form(read_octets, lambda value, _: value.hex(), {"type": "string", "pattern": pattern})


def _address() -> Form:
    def read_address(value: object, path: str, prefix: str) -> bytes:
        if not isinstance(value, str):
            raise WireError(path, f"{_shown(value)} where an address was due")
        try:
            return decode_address(value, prefix=prefix)
        except AddressError as error:
            raise WireError(path, str(error)) from None

    def write_address(value: bytes, prefix: str) -> Json:
        return encode_address(value, prefix=prefix)

    return Form(read_address, write_address, {"type": "string", "format": "bech32m"})


def _text(length: int | None) -> Form:
    def read_text(value: object, path: str, _: str) -> str:
        if not isinstance(value, str):
            raise WireError(path, f"{_shown(value)} where text was due")
        if length is not None and len(value.encode(errors="surrogatepass")) > length:
            raise WireError(path, f"text of more than {length} bytes")
        return value

    schema: dict[str, Any] = {"type": "string"} if length is None else {"type": "string", "maxLength": length}
    return Form(read_text, lambda value, _: str(value), schema)


def _boolean() -> Form:
    def read_boolean(value: object, path: str, _: str) -> bool:
        if type(value) is not bool:
            raise WireError(path, f"{_shown(value)} where true or false was due")
        return value

    return Form(read_boolean, lambda value, _: bool(value), {"type": "boolean"})


def _enumeration(kind: type[enum.IntEnum]) -> Form:
    known = {member.name: member for member in kind}

    def read_name(value: object, path: str, _: str) -> enum.IntEnum:
        if not isinstance(value, str) or value not in known:
            raise WireError(path, f"{_shown(value)} is no {kind.__name__}")
        return known[value]

    return Form(read_name, lambda value, _: kind(value).name, {"type": "string", "enum": list(known)})


def _optional(form: Form) -> Form:
    return Form(
        lambda value, path, prefix: None if value is None else form.read(value, path, prefix),
        lambda value, prefix: None if value is None else form.write(value, prefix),
        {"oneOf": [{"type": "null"}, form.schema]},
    )


def _array(form: Form) -> Form:
    def read_array(value: object, path: str, prefix: str) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise WireError(path, f"{_shown(value)} where an array was due")
        return tuple([form.read(item, f"{path}[{index}]", prefix) for index, item in enumerate(value)])

    def write_array(value: tuple[Any, ...], prefix: str) -> Json:
        return [form.write(item, prefix) for item in value]

    return Form(read_array, write_array, {"type": "array", "items": form.schema})


def _record(kind: Any) -> Form:
    hints = typing.get_type_hints(kind, include_extras=True)
    forms = {field.name: form_of(hints[field.name]) for field in dataclasses.fields(kind)}

    def read_record(value: object, path: str, prefix: str) -> Any:
        if not isinstance(value, dict):
            raise WireError(path, f"{_shown(value)} where an object was due")
        missing = [name for name in forms if name not in value]
        if missing:
            raise WireError(path, f"{missing[0]!r} is missing")
        try:
            members = {name: form.read(value[name], f"{path}.{name}", prefix) for name, form in forms.items()}
            return kind(**members)
        except WireError:
            raise
        except ValueError as error:
            raise WireError(path, str(error)) from None

    def write_record(value: Any, prefix: str) -> Json:
        return {name: form.write(getattr(value, name), prefix) for name, form in forms.items()}

    schema = {
        "type": "object",
        "title": kind.__name__,
        "properties": {name: form.schema for name, form in forms.items()},
        "required": list(forms),
    }
    return Form(read_record, write_record, schema)


def _length(bound: Exactly | AtMost) -> str:
    return f"{bound.length} bytes" if isinstance(bound, Exactly) else f"at most {bound.length} bytes"


def _shown(value: object) -> str:
    """What was got, short enough for one line of an error."""
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "an array"
    text = json.dumps(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
