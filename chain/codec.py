"""Strict canonical msgpack: one type, one byte string.

A record is a frozen dataclass whose field annotations are its schema. It is written as a msgpack array of its
fields in order: unsigned integers, bin, str and arrays, nothing else. Reading is driven by the schema, so a
length is judged before anything of that length is built, and the result is written again and compared, so
bytes that another encoder could have written differently are refused.

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

MAX_DEPTH: Final = 16
"""Nesting that no type of ours comes near; only untyped fields can reach it."""

_LIST_COST: Final = 72
"""Bytes that CPython spends on one empty list and the slot that holds it."""


class DecodeReason(enum.Enum):
    """Why bytes were refused."""

    TOO_LONG = "too_long"
    TRUNCATED = "truncated"
    TRAILING_BYTES = "trailing_bytes"
    WRONG_TYPE = "wrong_type"
    WRONG_LENGTH = "wrong_length"
    OUT_OF_RANGE = "out_of_range"
    UNKNOWN_TAG = "unknown_tag"
    TOO_DEEP = "too_deep"
    NOT_CANONICAL = "not_canonical"
    INVALID_VALUE = "invalid_value"


class DecodeError(ValueError):
    """Bytes from outside that are not the canonical form of the expected type."""

    def __init__(self, reason: DecodeReason, message: str) -> None:
        super().__init__(f"{reason.value}: {message}")
        self.reason = reason


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
_Reader = Callable[["_Source"], Any]
_Writer = Callable[[Any], Any]


class _Source:
    """One msgpack value at a time from a byte string; containers only where the schema asks for them."""

    __slots__ = ("_data", "_unpacker")

    def __init__(self, data: bytes) -> None:
        self._data = data
        size = len(data)
        # A scalar read must never build a container: arrays are entered by `array` alone.
        self._unpacker = msgpack.Unpacker(
            max_buffer_size=max(size, 1), max_str_len=size, max_bin_len=size,
            max_array_len=0, max_map_len=0, max_ext_len=0, strict_map_key=True,
        )  # fmt: skip
        self._unpacker.feed(data)

    def array(self) -> int:
        return int(self._call(self._unpacker.read_array_header))

    def scalar(self) -> object:
        return self._call(self._unpacker.unpack)

    def at_array(self) -> bool:
        position = self._unpacker.tell()
        if position >= len(self._data):
            raise DecodeError(DecodeReason.TRUNCATED, f"nothing after byte {position}")
        first = self._data[position]
        return 0x90 <= first <= 0x9F or first in (0xDC, 0xDD)

    def finish(self) -> None:
        position = self._unpacker.tell()
        if position != len(self._data):
            raise DecodeError(
                DecodeReason.TRAILING_BYTES, f"{len(self._data) - position} bytes after the value's end"
            )

    def _call(self, read: Callable[[], object]) -> Any:
        try:
            return read()
        except msgpack.OutOfData:
            raise DecodeError(DecodeReason.TRUNCATED, f"{len(self._data)} bytes end too early") from None
        except (ValueError, msgpack.UnpackException) as error:
            # Bad UTF-8, an unexpected container, a reserved byte: all the same to us.
            raise DecodeError(
                DecodeReason.WRONG_TYPE, f"{type(error).__name__} at byte {self._unpacker.tell()}"
            ) from None


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
    source = _Source(data)
    schema: Any = kind
    record: _Record = _schema(schema)[0](source)
    source.finish()
    if encode(record) != data:
        raise DecodeError(DecodeReason.NOT_CANONICAL, f"{kind.__name__} has a shorter or other encoding")
    return record


def encode_fields(fields: Fields) -> bytes:
    """The canonical bytes of untyped nested lists."""
    return _pack(fields)


def decode_fields(data: bytes, *, limit: int) -> Fields:
    """Read nested lists of unsigned integers and byte strings, at most ``limit`` bytes.

    What is built costs at most about eight times the input, whatever the input.

    Raises:
        DecodeError: With any of the reasons of `DecodeReason`.
    """
    if len(data) > limit:
        raise DecodeError(DecodeReason.TOO_LONG, f"{len(data)} bytes, at most {limit}")
    source = _Source(data)
    budget = [4 * len(data) // _LIST_COST + 64]
    fields = _read_fields(source, MAX_DEPTH, budget)
    source.finish()
    if encode_fields(fields) != data:
        raise DecodeError(DecodeReason.NOT_CANONICAL, "fields have a shorter or other encoding")
    return fields


def _read_fields(source: _Source, depth: int, budget: list[int]) -> Fields:
    if not source.at_array():
        value = source.scalar()
        if type(value) is int and value >= 0:
            return value
        if type(value) is bytes:
            return value
        raise DecodeError(DecodeReason.WRONG_TYPE, f"{type(value).__name__} where int, bin or array was due")
    if depth == 0:
        raise DecodeError(DecodeReason.TOO_DEEP, f"more than {MAX_DEPTH} nested arrays")
    budget[0] -= 1
    if budget[0] < 0:
        raise DecodeError(DecodeReason.TOO_LONG, "more arrays than input of this length may hold")
    return [_read_fields(source, depth - 1, budget) for _ in range(source.array())]


def _pack(value: object) -> bytes:
    packed = msgpack.packb(value, use_bin_type=True)
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

    def read(source: _Source) -> int:
        value = source.scalar()
        if type(value) is not int:
            raise DecodeError(DecodeReason.WRONG_TYPE, f"{type(value).__name__} where an integer was due")
        if not 0 <= value < top:
            raise DecodeError(DecodeReason.OUT_OF_RANGE, f"{value} is not in [0, 2**{bits})")
        return value

    def write(value: int) -> int:
        assert type(value) is int and 0 <= value < top, f"{value!r} is not in [0, 2**{bits})"
        return value

    return read, write


def _wide_integer(bits: int) -> tuple[_Reader, _Writer]:
    length = bits // 8
    read_octets, _ = _octets(Exactly(length))

    def read(source: _Source) -> int:
        return int.from_bytes(read_octets(source), "big")

    def write(value: int) -> bytes:
        assert type(value) is int and 0 <= value < 1 << bits, f"{value!r} is not in [0, 2**{bits})"
        return value.to_bytes(length, "big")

    return read, write


def _octets(bound: Exactly | AtMost) -> tuple[_Reader, _Writer]:
    low = bound.length if isinstance(bound, Exactly) else 0

    def read(source: _Source) -> bytes:
        value = source.scalar()
        if type(value) is not bytes:
            raise DecodeError(DecodeReason.WRONG_TYPE, f"{type(value).__name__} where bytes were due")
        if not low <= len(value) <= bound.length:
            raise DecodeError(DecodeReason.WRONG_LENGTH, f"{len(value)} bytes where {bound} was due")
        return value

    def write(value: bytes) -> bytes:
        assert type(value) is bytes and low <= len(value) <= bound.length, f"{value!r} is not {bound}"
        return value

    return read, write


def _text(length: int) -> tuple[_Reader, _Writer]:
    def read(source: _Source) -> str:
        value = source.scalar()
        if type(value) is not str:
            raise DecodeError(DecodeReason.WRONG_TYPE, f"{type(value).__name__} where text was due")
        if len(value.encode()) > length:
            raise DecodeError(DecodeReason.WRONG_LENGTH, f"text of more than {length} bytes")
        return value

    def write(value: str) -> str:
        assert type(value) is str and len(value.encode()) <= length, f"{value!r} is over {length} bytes"
        return value

    return read, write


def _sequence(item: tuple[_Reader, _Writer], length: int) -> tuple[_Reader, _Writer]:
    read_item, write_item = item

    def read(source: _Source) -> tuple[Any, ...]:
        count = source.array()
        if count > length:
            raise DecodeError(DecodeReason.WRONG_LENGTH, f"{count} items, at most {length}")
        return tuple([read_item(source) for _ in range(count)])

    def write(value: tuple[Any, ...]) -> list[Any]:
        assert len(value) <= length, f"{len(value)} items, at most {length}"
        return [write_item(item) for item in value]

    return read, write


def _enumeration(kind: type[enum.IntEnum]) -> tuple[_Reader, _Writer]:
    known = {int(member): member for member in kind}

    def read(source: _Source) -> enum.IntEnum:
        value = source.scalar()
        if type(value) is not int or value not in known:
            raise DecodeError(DecodeReason.OUT_OF_RANGE, f"{value!r} is no {kind.__name__}")
        return known[value]

    return read, int


def _tagged(kinds: tuple[Any, ...]) -> tuple[_Reader, _Writer]:
    by_tag: dict[int, Any] = {kind.TAG: kind for kind in kinds}
    assert len(by_tag) == len(kinds), f"two of {kinds} share a tag"

    def read(source: _Source) -> Any:
        if source.array() != 2:
            raise DecodeError(DecodeReason.WRONG_LENGTH, "a tagged value is a pair")
        tag = source.scalar()
        if type(tag) is not int or tag not in by_tag:
            raise DecodeError(DecodeReason.UNKNOWN_TAG, f"{tag!r} is none of {sorted(by_tag)}")
        chosen: Any = by_tag[tag]
        return _schema(chosen)[0](source)

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

    def read(source: _Source) -> Any:
        found = source.array()
        if found != count:
            raise DecodeError(DecodeReason.WRONG_LENGTH, f"{found} fields, {kind.__name__} has {count}")
        values = [reader(source) for reader in readers]
        try:
            return kind(*values)
        except ValueError as error:
            # A record's own `__post_init__` states what its fields must be to each other.
            raise DecodeError(DecodeReason.INVALID_VALUE, str(error)) from None

    def write(record: Any) -> list[Any]:
        return [writer(getattr(record, name)) for name, writer in zip(names, writers, strict=True)]

    return read, write
