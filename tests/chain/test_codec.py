"""The codec: one byte string a value, and a reason for every other byte string."""

import contextlib
import enum
import tracemalloc
from dataclasses import dataclass
from typing import Annotated, ClassVar

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain.codec import (
    MAX_DEPTH,
    U8,
    U64,
    U128,
    AtMost,
    Exactly,
    decode,
    decode_fields,
    encode,
    encode_fields,
)
from chain.msgpack_reader import DecodeError, DecodeReason


class Colour(enum.IntEnum):
    RED = 1
    BLUE = 7


@dataclass(frozen=True, slots=True)
class Circle:
    TAG: ClassVar[int] = 1
    radius: U8


@dataclass(frozen=True, slots=True)
class Named:
    TAG: ClassVar[int] = 2
    name: Annotated[str, AtMost(4)]


@dataclass(frozen=True, slots=True)
class Thing:
    number: U64
    wide: U128
    fixed: Annotated[bytes, Exactly(4)]
    short: Annotated[bytes, AtMost(3)]
    colour: Colour
    shape: Circle | Named
    list: Annotated[tuple[U8, ...], AtMost(3)]

    def __post_init__(self) -> None:
        if self.number == 13:
            raise ValueError("number is 13")


THING = Thing(300, 1 << 70, b"abcd", b"xy", Colour.BLUE, Named("zoë"), (1, 2))
FIELDS = [300, (1 << 70).to_bytes(16, "big"), b"abcd", b"xy", 7, [2, ["zoë"]], [1, 2]]


def packed(value: object) -> bytes:
    return msgpack.packb(value, use_bin_type=True)


def changed(index: int, value: object) -> bytes:
    return packed([*FIELDS[:index], value, *FIELDS[index + 1 :]])


def reason_of(data: bytes, kind: type = Thing, *, limit: int = 1000) -> DecodeReason:
    with pytest.raises(DecodeError) as caught:
        decode(kind, data, limit=limit)
    return caught.value.reason


def test_a_record_is_the_array_of_its_fields():
    assert encode(THING) == packed(FIELDS)
    assert decode(Thing, encode(THING), limit=100) == THING


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", DecodeReason.TRUNCATED),
        (packed(FIELDS)[:-1], DecodeReason.TRUNCATED),
        (packed(FIELDS) + b"\x00", DecodeReason.TRAILING_BYTES),
        (packed(FIELDS[:-1]), DecodeReason.WRONG_LENGTH),
        (packed(7), DecodeReason.WRONG_TYPE),
        (packed({1: 2}), DecodeReason.WRONG_TYPE),
        (b"\xc1", DecodeReason.WRONG_TYPE),
        (changed(0, -1), DecodeReason.WRONG_TYPE),
        (changed(0, b"x"), DecodeReason.WRONG_TYPE),
        (changed(0, True), DecodeReason.WRONG_TYPE),
        (changed(0, None), DecodeReason.WRONG_TYPE),
        (changed(0, 1.0), DecodeReason.WRONG_TYPE),
        (changed(0, [1]), DecodeReason.WRONG_TYPE),
        (changed(0, 13), DecodeReason.INVALID_VALUE),
        (changed(1, b"x" * 15), DecodeReason.WRONG_LENGTH),
        (changed(1, 5), DecodeReason.WRONG_TYPE),
        (changed(2, b"abc"), DecodeReason.WRONG_LENGTH),
        (changed(2, "abcd"), DecodeReason.WRONG_TYPE),
        (changed(3, b"abcd"), DecodeReason.WRONG_LENGTH),
        (changed(4, 2), DecodeReason.OUT_OF_RANGE),
        (changed(5, [3, ["x"]]), DecodeReason.UNKNOWN_TAG),
        (changed(5, [2]), DecodeReason.WRONG_LENGTH),
        (changed(5, [2, ["fünfz"]]), DecodeReason.WRONG_LENGTH),
        (changed(5, [2, [b"x"]]), DecodeReason.WRONG_TYPE),
        (changed(5, [b"", ["x"]]), DecodeReason.WRONG_TYPE),
        (changed(6, [1, 2, 3, 4]), DecodeReason.WRONG_LENGTH),
        (changed(6, [256]), DecodeReason.OUT_OF_RANGE),
        # 300 as a signed 16-bit integer: as long as the unsigned one, and not the one.
        (packed(FIELDS).replace(b"\xcd\x01\x2c", b"\xd1\x01\x2c"), DecodeReason.WRONG_TYPE),
        # 300 as a 32-bit integer, where 16 bits are enough.
        (packed(FIELDS).replace(b"\xcd\x01\x2c", b"\xce\x00\x00\x01\x2c"), DecodeReason.NOT_CANONICAL),
        (packed(FIELDS).replace(b"\xc4\x02xy", b"\xc5\x00\x02xy"), DecodeReason.NOT_CANONICAL),
        (packed(FIELDS).replace(b"zo\xc3\xab", b"zo\xc3\xc3"), DecodeReason.WRONG_TYPE),
        # An array that announces 2**32 - 1 items and brings none.
        (packed(FIELDS)[:-3] + b"\xdd\xff\xff\xff\xff", DecodeReason.TRUNCATED),
    ],
)
def test_everything_else_has_a_reason(data: bytes, reason: DecodeReason):
    assert reason_of(data) is reason


def test_the_limit_comes_before_anything_else():
    assert reason_of(packed(FIELDS), limit=10) is DecodeReason.TOO_LONG


@dataclass(frozen=True, slots=True)
class Prose:
    text: Annotated[str, AtMost(1 << 17)]


@pytest.mark.parametrize("length", [0, 31, 32, 255, 256, 65_535, 65_536])
def test_text_and_octets_of_every_head(length: int):
    prose = Prose("x" * length)
    assert encode(prose) == packed([prose.text])
    assert decode(Prose, encode(prose), limit=1 << 18) == prose
    assert decode_fields(encode_fields([bytes(length)]), limit=1 << 18) == [bytes(length)]


def test_out_of_range_fields_of_our_own_are_our_mistake():
    with pytest.raises(AssertionError, match="is not in"):
        encode(Circle(256))
    with pytest.raises(AssertionError, match="is not in"):
        encode(Thing(1, 1 << 128, b"abcd", b"", Colour.RED, Circle(1), ()))


@given(
    st.builds(
        Thing,
        number=st.integers(14, (1 << 64) - 1),
        wide=st.integers(0, (1 << 128) - 1),
        fixed=st.binary(min_size=4, max_size=4),
        short=st.binary(max_size=3),
        colour=st.sampled_from(Colour),
        shape=st.builds(Circle, st.integers(0, 255)) | st.builds(Named, st.text(max_size=1)),
        list=st.lists(st.integers(0, 255), max_size=3).map(tuple),
    )
)
def test_round_trip(thing: Thing):
    assert decode(Thing, encode(thing), limit=1000) == thing


@given(st.binary(max_size=200))
def test_any_bytes_give_a_record_or_a_reason(data: bytes):
    for read in (lambda: decode(Thing, data, limit=100), lambda: decode_fields(data, limit=100)):
        try:
            value = read()
        except DecodeError:
            continue
        again = encode(value) if isinstance(value, Thing) else encode_fields(value)
        assert again == data


@given(st.data())
def test_mutated_bytes_give_a_reason_or_another_record(data: st.DataObject):
    raw = bytearray(encode(THING))
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        thing = decode(Thing, bytes(raw), limit=1000)
    except DecodeError:
        return
    assert encode(thing) == bytes(raw)


nested = st.recursive(
    st.integers(0, (1 << 64) - 1) | st.binary(max_size=40),
    lambda inner: st.lists(inner, max_size=6),
    max_leaves=30,
)


@given(nested)
def test_fields_round_trip(fields):
    assert decode_fields(encode_fields(fields), limit=1 << 16) == fields


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\x91" * (MAX_DEPTH + 1) + b"\x00", DecodeReason.TOO_DEEP),
        (b"\xdc\x03\xe8" + b"\x90" * 1000, DecodeReason.TOO_DENSE),
        (b"\xff", DecodeReason.WRONG_TYPE),
        (b"\xa1x", DecodeReason.WRONG_TYPE),
        (b"\xcb" + bytes(8), DecodeReason.WRONG_TYPE),
        (b"\xdd\xff\xff\xff\xff", DecodeReason.TRUNCATED),
    ],
)
def test_fields_have_bounds(data: bytes, reason: DecodeReason):
    with pytest.raises(DecodeError) as caught:
        decode_fields(data, limit=1 << 16)
    assert caught.value.reason is reason


@pytest.mark.parametrize(
    "data",
    [
        b"\xdc\xff\xff" + b"\x00" * 65535,
        b"\xdc\xff\xff" + b"\xc4\x02ab" * 65535,
        b"\xdc\xff\xff" + b"\xcd\x01\x01" * 65535,
        b"\xdc\xff\xff" + b"\x90" * 65535,
        b"\xdd\xff\xff\xff\xff" * 10000,
        (b"\xdc\xff\xff" * 15) + b"\x00" * 65535,
        b"\xc6\xff\xff\xff\xff" + bytes(1 << 16),
        encode_fields([bytes(64)] * 900),
    ],
    ids=["zeros", "octets", "integers", "lists", "promises", "nested promises", "long", "honest"],
)
def test_fields_cost_at_most_eight_times_their_bytes(data: bytes):
    decode_fields(encode_fields([1]), limit=10)
    tracemalloc.start()
    with contextlib.suppress(DecodeError):
        decode_fields(data, limit=1 << 20)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak <= 8 * len(data) + 4096, f"{peak / len(data):.1f} times"
