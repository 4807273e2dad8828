"""Strict reading of nested lists of unsigned integers and bytes, as a codec hands them over."""

from collections.abc import Callable
from typing import Final, TypeVar

T = TypeVar("T")

_MAX_DEPTH: Final = 3
"""Lists within lists: a proof, its items, an item, its rows."""

_INT_SIZES: Final = ((7, 1), (8, 2), (16, 3), (32, 5), (64, 9))
_BYTES_SIZES: Final = ((8, 2), (16, 3), (32, 5))


class FieldError(ValueError):
    """Something else was found than expected.

    Args:
        message: a sentence with both.
        oversize: whether it is the right kind of thing, but too large.
    """

    def __init__(self, message: str, *, oversize: bool = False) -> None:
        super().__init__(message)
        self.oversize = oversize


def measure(fields: object, *, limit: int) -> int:
    """Bytes that nested lists take in msgpack; nothing is walked that could not fit the limit.

    Args:
        fields: lists or tuples of such, unsigned integers below 2^64, bytes.
        limit: largest size allowed.

    Raises:
        FieldError: if anything else is in them, if they nest deeper than that, or exceed the limit.
    """
    return _measure(fields, limit, depth=0, whole=limit)


def _measure(value: object, limit: int, *, depth: int, whole: int) -> int:
    if type(value) is bytes:
        size = len(value) + _header(len(value), _BYTES_SIZES)
    elif type(value) is int:
        if value < 0 or value.bit_length() > 64:
            raise FieldError("an integer outside 0..2^64-1")
        size = _header(value, _INT_SIZES)
    elif isinstance(value, list | tuple) and depth <= _MAX_DEPTH:
        size = 1 if len(value) < 16 else 3 if len(value) < 1 << 16 else 5
        # Every element takes a byte at least: a list longer than what is left is never walked.
        if size + len(value) <= limit:
            for element in value:
                kind = type(element)
                # What a hostile list has most of; a call for each is what measuring would cost.
                if kind is bytes and len(element) < 1 << 8:
                    size += 2 + len(element)
                elif kind is int and 0 <= element < 1 << 7:
                    size += 1
                else:
                    size += _measure(element, limit - size, depth=depth + 1, whole=whole)
        else:
            size = limit + 1
    else:
        raise FieldError(f"a {type(value).__name__} at depth {depth}")
    if size > limit:
        raise FieldError(f"more than {whole} bytes", oversize=True)
    return size


def _header(value: int, sizes: tuple[tuple[int, int], ...]) -> int:
    for bits, size in sizes:
        if value < 1 << bits:
            return size
    raise FieldError(f"{value} bytes in one field", oversize=True)


def read_list(value: object, what: str, *, length: int) -> list[object]:
    """A list or tuple of exactly `length` elements.

    Raises:
        FieldError: if it is not.
    """
    if not isinstance(value, list | tuple):
        raise FieldError(f"{what}: a list of {length} expected, got {type(value).__name__}")
    if len(value) != length:
        raise FieldError(f"{what}: {length} fields expected, got {len(value)}")
    return list(value)


def read_all(value: object, what: str, *, read: Callable[[object], T]) -> tuple[T, ...]:
    """A list or tuple, each element read.

    Raises:
        FieldError: if it is no list, or from `read`.
    """
    if not isinstance(value, list | tuple):
        raise FieldError(f"{what}: a list expected, got {type(value).__name__}")
    return tuple(read(element) for element in value)


def read_int(value: object, what: str, *, limit: int) -> int:
    """An integer from 0 to limit.

    Raises:
        FieldError: if it is not; oversize if it is larger.
    """
    if type(value) is not int or value < 0:
        raise FieldError(f"{what}: an unsigned integer expected, got {type(value).__name__}")
    if value > limit:
        raise FieldError(f"{what}: at most {limit}, got {value:#x}", oversize=True)
    return value


def read_bytes(value: object, what: str, *, limit: int, unit: int = 1) -> bytes:
    """Bytes, at most `limit`, a multiple of `unit`.

    Raises:
        FieldError: if it is not; oversize if it is longer.
    """
    if type(value) is not bytes:
        raise FieldError(f"{what}: bytes expected, got {type(value).__name__}")
    if len(value) > limit:
        raise FieldError(f"{what}: at most {limit} bytes, got {len(value)}", oversize=True)
    if len(value) % unit:
        raise FieldError(f"{what}: {len(value)} bytes, not a multiple of {unit}")
    return value
