"""Strict canonical msgpack: one value, one byte string.

A record is a frozen dataclass whose field annotations are its schema. It is written as a msgpack array of its
fields in order: unsigned integers, bin, str and arrays, nothing else. Reading is driven by the schema, so a
length is judged before anything of that length is built, and `chain.msgpack_reader` takes each value in its
shortest form alone: bytes that another encoder could have written differently are refused.

Annotations understood: ``Annotated[int, Bits(n)]`` (over 64 bits, where msgpack's integers end, as bin of n /
8 bytes, big-endian), ``Annotated[bytes, Exactly(n)]`` or ``AtMost(n)``, ``Annotated[str, AtMost(n)]``,
``Annotated[tuple[T, ...], AtMost(n)]``, an ``IntEnum``, another record, and a union of records that each
carry a class constant ``TAG`` (written as ``[tag, record]``).
"""

import dataclasses
import enum
import functools
import types
import typing
from collections.abc import Callable
from typing import Annotated, Any, Final, TypeVar, get_args, get_origin

import msgpack

from chain.msgpack_reader import DecodeError, DecodeReason, Reader

MAX_DEPTH: Final = 16
"""Nesting that no type of ours comes near; only untyped fields can reach it."""

_FIELDS_COST: Final = 5
"""Bytes of objects that untyped content may cost per byte of input; an honest proof costs 2 to 4."""

_FIELDS_FREE: Final = 4096
"""Bytes of objects that any input may cost."""


@dataclasses.dataclass(frozen=True, slots=True)
class Bits:
    """An unsigned integer below ``2**count``; above 64, a multiple of 8."""

    count: int


@dataclasses.dataclass(frozen=True, slots=True)
class Exactly:
    """A byte string of exactly ``length`` bytes."""

    length: int


@dataclasses.dataclass(frozen=True, slots=True)
class AtMost:
    """A byte string, text (in UTF-8 bytes) or sequence of at most ``length`` items."""

    length: int


U8 = Annotated[int, Bits(8)]
U16 = Annotated[int, Bits(16)]
U32 = Annotated[int, Bits(32)]
U64 = Annotated[int, Bits(64)]
U128 = Annotated[int, Bits(128)]
Hash32 = Annotated[bytes, Exactly(32)]
PublicKey = Annotated[bytes, Exactly(32)]
Signature = Annotated[bytes, Exactly(64)]

Fields = int | bytes | list["Fields"]
"""Untyped content: nested lists of unsigned integers and byte strings."""

_Record = TypeVar("_Record")
_Reader = Callable[[Reader], Any]
_Writer = Callable[[Any], Any]


def encode(record: object) -> bytes:
    """The canonical bytes of a record.

    Raises:
        AssertionError: A field is outside its declared range: our own mistake, never a peer's.
    """
    kind: Any = type(record)
    return _pack(_schema(kind)[1](record))


def decode(kind: type[_Record], data: bytes, *, limit: int) -> _Record:
    """Read a record of type ``kind`` from all of ``data``, at most ``limit`` bytes.

    Raises:
        DecodeError: With any of the reasons of `DecodeReason`.
    """
    if len(data) > limit:
        raise DecodeError(DecodeReason.TOO_LONG, f"{len(data)} bytes, at most {limit} for {kind.__name__}")
    reader = Reader(data)
    schema: Any = kind
    record: _Record = _schema(schema)[0](reader)
    reader.finish()
    return record


def encode_fields(fields: Fields) -> bytes:
    """The canonical bytes of untyped nested lists."""
    return _pack(fields)


def decode_fields(data: bytes, *, limit: int) -> Fields:
    """Read nested lists of unsigned integers and byte strings, at most ``limit`` bytes.

    The objects built take at most 5 times the input, and 4 KiB: dense nesting of tiny values is refused.

    Raises:
        DecodeError: With any of the reasons of `DecodeReason`.
    """
    if len(data) > limit:
        raise DecodeError(DecodeReason.TOO_LONG, f"{len(data)} bytes, at most {limit}")
    reader = Reader(data)
    fields = _read_fields(reader, MAX_DEPTH, [_FIELDS_COST * len(data) + _FIELDS_FREE])
    reader.finish()
    return fields


def _read_fields(reader: Reader, depth: int, budget: list[int]) -> Fields:
    """One value; takes what its objects cost in CPython, roughly, off the budget."""
    value = reader.value()
    if isinstance(value, int):
        _spend(budget, 32 if value > 256 else 0)
        return value
    if value is not None:
        _spend(budget, 40 + len(value) if len(value) > 1 else 0)
        return value
    if depth == 0:
        raise DecodeError(DecodeReason.TOO_DEEP, f"more than {MAX_DEPTH} nested arrays")
    count = reader.array()
    _spend(budget, 56 + 8 * count)
    # Made at its full length: a list that grows takes an eighth more.
    values: list[Fields] = [0] * count
    for index in range(count):
        values[index] = _read_fields(reader, depth - 1, budget)
    return values


def _spend(budget: list[int], cost: int) -> None:
    budget[0] -= cost
    if budget[0] < 0:
        raise DecodeError(DecodeReason.TOO_DENSE, "more small values than input of this length may hold")


def _pack(value: object) -> bytes:
    # The library's own first buffer is 256 KiB, for records of some hundred bytes; it grows as it must.
    packed = msgpack.packb(value, use_bin_type=True, buf_size=1024)
    assert isinstance(packed, bytes)
    return packed


@functools.cache
def _schema(kind: Any) -> tuple[_Reader, _Writer]:
    """Reader and writer of an annotation, built once."""
    if get_origin(kind) is Annotated:
        base, bound = get_args(kind)[0], get_args(kind)[1]
        if base is int:
            return _integer(bound.count)
        if base is bytes:
            return _octets(bound)
        if base is str:
            return _text(bound.length)
        return _sequence(_schema(get_args(base)[0]), bound.length)
    if get_origin(kind) in (typing.Union, types.UnionType):
        return _tagged(get_args(kind))
    if isinstance(kind, type) and issubclass(kind, enum.IntEnum):
        return _enumeration(kind)
    assert dataclasses.is_dataclass(kind), f"{kind} is no record"
    return _record(kind)


def _integer(bits: int) -> tuple[_Reader, _Writer]:
    if bits > 64:
        return _wide_integer(bits)
    top = 1 << bits

    def read(reader: Reader) -> int:
        value = reader.integer()
        if value >= top:
            raise DecodeError(DecodeReason.OUT_OF_RANGE, f"{value} is not in [0, 2**{bits})")
        return value

    def write(value: int) -> int:
        assert type(value) is int and 0 <= value < top, f"{value!r} is not in [0, 2**{bits})"
        return value

    return read, write


def _wide_integer(bits: int) -> tuple[_Reader, _Writer]:
    length = bits // 8

    def read(reader: Reader) -> int:
        return int.from_bytes(reader.octets(length, length), "big")

    def write(value: int) -> bytes:
        assert type(value) is int and 0 <= value < 1 << bits, f"{value!r} is not in [0, 2**{bits})"
        return value.to_bytes(length, "big")

    return read, write


def _octets(bound: Exactly | AtMost) -> tuple[_Reader, _Writer]:
    low, high = bound.length if isinstance(bound, Exactly) else 0, bound.length

    def read(reader: Reader) -> bytes:
        return reader.octets(low, high)

    def write(value: bytes) -> bytes:
        assert type(value) is bytes and low <= len(value) <= high, f"{value!r} is not {bound}"
        return value

    return read, write


def _text(length: int) -> tuple[_Reader, _Writer]:
    def read(reader: Reader) -> str:
        return reader.text(length)

    def write(value: str) -> str:
        assert type(value) is str and len(value.encode()) <= length, f"{value!r} is over {length} bytes"
        return value

    return read, write


def _sequence(item: tuple[_Reader, _Writer], length: int) -> tuple[_Reader, _Writer]:
    read_item, write_item = item

    def read(reader: Reader) -> tuple[Any, ...]:
        count = reader.array()
        if count > length:
            raise DecodeError(DecodeReason.WRONG_LENGTH, f"{count} items, at most {length}")
        return tuple([read_item(reader) for _ in range(count)])

    def write(value: tuple[Any, ...]) -> list[Any]:
        assert len(value) <= length, f"{len(value)} items, at most {length}"
        return [write_item(item) for item in value]

    return read, write


def _enumeration(kind: type[enum.IntEnum]) -> tuple[_Reader, _Writer]:
    known = {int(member): member for member in kind}

    def read(reader: Reader) -> enum.IntEnum:
        value = reader.integer()
        if value not in known:
            raise DecodeError(DecodeReason.OUT_OF_RANGE, f"{value} is no {kind.__name__}")
        return known[value]

    return read, int


def _tagged(kinds: tuple[Any, ...]) -> tuple[_Reader, _Writer]:
    by_tag: dict[int, Any] = {kind.TAG: kind for kind in kinds}
    assert len(by_tag) == len(kinds), f"two of {kinds} share a tag"

    def read(reader: Reader) -> Any:
        if reader.array() != 2:
            raise DecodeError(DecodeReason.WRONG_LENGTH, "a tagged value is a pair")
        tag = reader.integer()
        if tag not in by_tag:
            raise DecodeError(DecodeReason.UNKNOWN_TAG, f"{tag} is none of {sorted(by_tag)}")
        chosen: Any = by_tag[tag]
        return _schema(chosen)[0](reader)

    def write(value: Any) -> list[Any]:
        assert type(value) in kinds, f"{type(value).__name__} is not of this union"
        return [value.TAG, _schema(by_tag[value.TAG])[1](value)]

    return read, write


def _record(kind: Any) -> tuple[_Reader, _Writer]:
    hints = typing.get_type_hints(kind, include_extras=True)
    names = [field.name for field in dataclasses.fields(kind)]
    parts = [_schema(hints[name]) for name in names]
    readers, writers = [part[0] for part in parts], [part[1] for part in parts]
    count = len(parts)

    def read(reader: Reader) -> Any:
        found = reader.array()
        if found != count:
            raise DecodeError(DecodeReason.WRONG_LENGTH, f"{found} fields, {kind.__name__} has {count}")
        values = [read_field(reader) for read_field in readers]
        try:
            return kind(*values)
        except ValueError as error:
            # A record's own `__post_init__` states what its fields must be to each other.
            raise DecodeError(DecodeReason.INVALID_VALUE, str(error)) from None

    def write(record: Any) -> list[Any]:
        return [writer(getattr(record, name)) for name, writer in zip(names, writers, strict=True)]

    return read, write
