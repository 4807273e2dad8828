"""Reading msgpack one value at a time, in its one canonical form and no other.

Only what the codec writes is understood: unsigned integers, bin, str and arrays, each with the shortest head
that holds it. A length is compared with the bytes that are left before anything of that length is made, and
all arrays together cannot promise more values than there are bytes: reading costs memory in proportion to the
input, whatever the input says. (https://github.com/msgpack/msgpack/blob/master/spec.md)
"""

import enum
from typing import Final

_SHORTEST: Final = (1 << 7, 1 << 8, 1 << 16, 1 << 32)
"""Least integer that needs a head of 1, 2, 4 and 8 bytes more."""


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
    TOO_DENSE = "too_dense"
    NOT_CANONICAL = "not_canonical"
    INVALID_VALUE = "invalid_value"


class DecodeError(ValueError):
    """Bytes from outside that are not the canonical form of the expected type."""

    def __init__(self, reason: DecodeReason, message: str) -> None:
        super().__init__(f"{reason.value}: {message}")
        self.reason = reason


class Reader:
    """A position in a byte string. Every read moves it past one value, or one array's head, or raises.

    Raises:
        DecodeError: TRUNCATED, WRONG_TYPE, WRONG_LENGTH, NOT_CANONICAL; TRAILING_BYTES from `finish`.
    """

    __slots__ = ("_at", "_data", "_promised")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0
        self._promised = 0

    def integer(self) -> int:
        """An unsigned integer below 2**64."""
        first = self._first()
        if first < 0x80:
            self._at += 1
            return first
        if not 0xCC <= first <= 0xCF:
            raise self._unexpected(first, "an integer")
        self._at += 1
        return self._number(first - 0xCC)

    def octets(self, low: int, high: int) -> bytes:
        """A byte string of ``low`` to ``high`` bytes."""
        first = self._first()
        if not 0xC4 <= first <= 0xC6:
            raise self._unexpected(first, "a byte string")
        self._at += 1
        return self._body(self._length(first - 0xC4, 0), low, high)

    def text(self, high: int) -> str:
        """Text of at most ``high`` bytes of UTF-8."""
        first = self._first()
        if 0xA0 <= first <= 0xBF:
            self._at += 1
            size = first & 0x1F
        elif 0xD9 <= first <= 0xDB:
            self._at += 1
            size = self._length(first - 0xD9, 32)
        else:
            raise self._unexpected(first, "text")
        body = self._body(size, 0, high)
        try:
            return body.decode()
        except UnicodeDecodeError:
            raise DecodeError(DecodeReason.WRONG_TYPE, f"no UTF-8 before byte {self._at}") from None

    def array(self) -> int:
        """The head of an array: how many values follow."""
        first = self._first()
        if 0x90 <= first <= 0x9F:
            self._at += 1
            count = first & 0x0F
        elif first in (0xDC, 0xDD):
            self._at += 1
            count = self._number(first - 0xDB, least=16 if first == 0xDC else 1 << 16)
        else:
            raise self._unexpected(first, "an array")
        self._promised += count
        if self._promised > len(self._data):
            raise self._truncated(f"the last of {self._promised} values")
        return count

    def value(self) -> int | bytes | None:
        """An integer or a byte string; None, and no move, at an array."""
        first = self._first()
        if first < 0x80 or 0xCC <= first <= 0xCF:
            return self.integer()
        if 0xC4 <= first <= 0xC6:
            return self.octets(0, len(self._data))
        if 0x90 <= first <= 0x9F or first in (0xDC, 0xDD):
            return None
        raise self._unexpected(first, "an integer, a byte string or an array")

    def finish(self) -> None:
        """The end of the input must be here."""
        if self._at != len(self._data):
            raise DecodeError(
                DecodeReason.TRAILING_BYTES, f"{len(self._data) - self._at} bytes after the value's end"
            )

    def _first(self) -> int:
        try:
            return self._data[self._at]
        except IndexError:
            raise self._truncated("a value") from None

    def _number(self, head: int, *, least: int | None = None) -> int:
        """A big-endian integer of ``2**head`` bytes, which a shorter head could not have held."""
        at, end = self._at, self._at + (1 << head)
        if end > len(self._data):
            raise self._truncated("an integer")
        value = int.from_bytes(self._data[at:end], "big")
        if value < (_SHORTEST[head] if least is None else least):
            raise DecodeError(DecodeReason.NOT_CANONICAL, f"{value} at byte {at} in {1 << head} bytes")
        self._at = end
        return value

    def _length(self, head: int, shortest: int) -> int:
        """A byte count of ``2**head`` bytes; counts below ``shortest`` have a head of their own."""
        return self._number(head, least=(shortest, 1 << 8, 1 << 16)[head])

    def _body(self, size: int, low: int, high: int) -> bytes:
        if not low <= size <= high:
            expected = f"{low}" if low == high else f"{low} to {high}"
            raise DecodeError(
                DecodeReason.WRONG_LENGTH, f"{size} bytes at byte {self._at}, {expected} were due"
            )
        at, end = self._at, self._at + size
        if end > len(self._data):
            raise self._truncated(f"{size} bytes")
        self._at = end
        return self._data[at:end]

    def _unexpected(self, first: int, what: str) -> DecodeError:
        return DecodeError(DecodeReason.WRONG_TYPE, f"{first:#04x} at byte {self._at} where {what} was due")

    def _truncated(self, what: str) -> DecodeError:
        return DecodeError(
            DecodeReason.TRUNCATED, f"{len(self._data) - self._at} bytes left where {what} was due"
        )
