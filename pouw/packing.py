"""Opened values in as few bits as the largest of them needs.

What a proof opens are runs of values of one type, and most of the wide ones hold little: a 32-bit gradient
has twenty bits, an error of 16 has eleven. So each run travels with a width, and its values in that many bits
each, in two's complement, the first in the lowest bits. The width is the least that holds them all, and the
bits that fill the last byte are zero: a run has one form, of a length that follows from count and width.

    values  5 -3 2 0   width 4   bits 0000 0010 1101 0101   bytes d5 02
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pouw.tensors import DType

PACKED_BYTES: Final = 2048
"""Longer runs travel as they are: in wide models the time to unpack counts for more than the bytes."""

_Ints = NDArray[np.int64]


class Run(NamedTuple):
    """Neighbouring values of one tensor."""

    length: int
    """Values, not bytes."""
    dtype: DType

    @property
    def size(self) -> int:
        """Bytes of the values themselves."""
        return self.length * self.dtype.size


class PackingError(ValueError):
    """Bytes that are not the one form of the runs that were expected; the message says both sides."""


def pack(runs: Sequence[Run], data: Sequence[bytes]) -> tuple[bytes, bytes]:
    """The widths of some runs, a byte each, and their values.

    Args:
        runs: what they are.
        data: the values of each, in their own type.
    """
    widths, parts = bytearray(), []
    for run, raw in zip(runs, data, strict=True):
        values = np.frombuffer(raw, run.dtype.numpy)
        width = int(_least_widths(values, np.array([run.length]), run.dtype)[0]) if raw else 0
        widths.append(width)
        parts.append(raw if width == 8 * run.dtype.size else _in_bits(values, width))
    return bytes(widths), b"".join(parts)


def unpack(runs: Sequence[Run], widths: bytes, packed: bytes) -> list[bytes]:
    """The values of some runs, each in its own type.

    Args:
        runs: what is expected; their sizes bound what is allocated.
        widths: as `pack` gives them.
        packed: as `pack` gives them.

    Raises:
        PackingError: if there are more or fewer bytes, or not those that `pack` gives.
    """
    if len(widths) != len(runs):
        raise PackingError(f"{len(widths)} widths of {len(runs)} runs")
    counts = np.array([run.length for run in runs], np.int64)
    sizes = np.array([run.dtype.size for run in runs], np.int64)
    bits = np.frombuffer(widths, np.uint8).astype(np.int64)
    if (bits > 8 * sizes).any():
        raise PackingError("values in more bits than their type has")
    lengths = (counts * bits + 7) // 8
    if lengths.sum() != len(packed):
        raise PackingError(f"{len(packed)} bytes for {counts.sum()} values, {lengths.sum()} expected")
    starts = np.cumsum(lengths) - lengths
    found = [b""] * len(runs)
    for dtype in DType:
        chosen = np.flatnonzero(sizes == dtype.size)
        if not chosen.size:
            continue
        values = _unpacked(packed, starts[chosen], bits[chosen], counts=counts[chosen], dtype=dtype)
        if not np.array_equal(_least_widths(values, counts[chosen], dtype), bits[chosen]):
            raise PackingError("values in more bits than they need")
        whole, start = values.tobytes(), 0
        for number in chosen.tolist():
            found[number] = whole[start : start + runs[number].size]
            start += runs[number].size
    _require_no_more(packed, starts + lengths, counts * bits)
    return found


def _require_no_more(packed: bytes, ends: _Ints, bits: _Ints) -> None:
    """The last byte of each run holds nothing behind its last value."""
    used = bits % 8
    open_ended = np.flatnonzero(used)
    last = np.frombuffer(packed, np.uint8)[ends[open_ended] - 1]
    if (last >> used[open_ended].astype(np.uint8)).any():
        raise PackingError("bits behind the last value of a run")


def _least_widths(values: NDArray[np.signedinteger], counts: _Ints, dtype: DType) -> _Ints:
    """The width of each run: 0 for zeros alone, else what holds all values and their sign."""
    full = 8 * dtype.size
    starts = np.cumsum(counts) - counts
    # The bits that differ from the sign; -1 has none of them, and still needs a sign.
    magnitudes: _Ints = np.maximum.reduceat(values ^ (values >> (full - 1)), starts).astype(np.int64)
    lows = np.minimum.reduceat(values, starts)
    widths: _Ints = 1 + (magnitudes[:, None] >> np.arange(full - 1) != 0).sum(axis=1)
    widths[(magnitudes == 0) & (lows == 0)] = 0
    widths[(counts * dtype.size > PACKED_BYTES) | (dtype is DType.INT64)] = full
    return widths


def _in_bits(values: NDArray[np.signedinteger], width: int) -> bytes:
    bits = values[:, None] >> np.arange(width, dtype=np.int8) & 1
    return np.packbits(bits.astype(np.uint8).reshape(-1), bitorder="little").tobytes()


def _unpacked(
    packed: bytes, starts: _Ints, widths: _Ints, *, counts: _Ints, dtype: DType
) -> NDArray[np.signedinteger]:
    """The values of runs of one type, one after the other."""
    values = np.zeros(counts.sum(), dtype.numpy)
    ends = np.cumsum(counts)
    narrow = widths < 8 * dtype.size
    for number in np.flatnonzero(~narrow).tolist():
        end, count = int(ends[number]), int(counts[number])
        values[end - count : end] = np.frombuffer(packed, dtype.numpy, count, int(starts[number]))
    narrow &= (widths > 0) & (counts * dtype.size <= PACKED_BYTES)
    if narrow.any():
        inside = np.repeat(narrow, counts)
        values[inside] = _from_bits(packed, starts[narrow], widths[narrow], counts=counts[narrow])
    return values


def _from_bits(packed: bytes, starts: _Ints, widths: _Ints, *, counts: _Ints) -> _Ints:
    """Values of at most 32 bits, read from the 64 bits that begin at the byte in which each begins."""
    number: _Ints = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    width = np.repeat(widths, counts)
    bit: _Ints = np.repeat(8 * starts, counts) + number * width
    windows: NDArray[np.uint64] = np.ndarray(len(packed) + 1, "<u8", packed + bytes(8), 0, (1,))
    high = windows[bit >> 3] << (64 - width - (bit & 7)).astype(np.uint64)
    values: _Ints = high.view(np.int64) >> (64 - width)
    return values
