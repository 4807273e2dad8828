"""Opened values in as few bits as they need, in one of two ways.

What a proof opens are runs of values of one type, and most of the wide ones hold little: a 32-bit gradient
has twenty bits, an error of 16 has eleven. So each run travels with a byte that says how wide its values are,
and has one form, which follows from the values alone.

*Plain*: the byte is a width, the least that holds all values in two's complement; each takes that many bits,
the first in the lowest. The bits that fill the last byte are zero.

    values  5 -3 2 0   width 4   bits 0000 0010 1101 0101   bytes d5 02

*Coded* (Golomb 1966, Rice and Plaunt 1971), where there are many and that is shorter, since most values of a
run are far smaller than its largest. The byte is 64 and a width k. Each value, its sign folded into the
lowest bit (0 -1 1 -2 ... as 0 1 2 3 ...), is cut in two: the lowest k bits travel as in a plain run, and what
is above them, a number h, as h zeros and a one. These stand behind all runs, in the same order, the first in
the lowest bits. k follows from the mean of the folded values; it need not be the best.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pouw.tensors import DType

PACKED_BYTES: Final = 2048
"""Longer runs travel as they are: in wide models the time to unpack counts for more than the bytes."""

CODED: Final = 64
"""Marks the byte of a coded run."""

MANY_VALUES: Final = 1024
"""Fewer than these, of all runs together, are not coded: reading takes longer than it saves."""

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
    """How wide the values of some runs are, a byte each, and the values.

    Args:
        runs: what they are.
        data: the values of each, in their own type.
    """
    many = sum(run.length for run in runs) >= MANY_VALUES
    widths, parts, above = bytearray(), [], [np.zeros(0, np.int64)]
    for run, raw in zip(runs, data, strict=True):
        values = np.frombuffer(raw, run.dtype.numpy)
        width = int(_widths(values, np.array([run.length]), run.dtype, many=many)[0]) if raw else 0
        widths.append(width)
        if width >= CODED and run.dtype is not DType.INT64:
            folded = _folded(values)
            above.append(folded >> (width - CODED))
            parts.append(_in_bits(folded, width - CODED))
        else:
            parts.append(raw if width == 8 * run.dtype.size else _in_bits(values, width))
    return bytes(widths), b"".join(parts) + _in_ones(np.concatenate(above))


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
    given = np.frombuffer(widths, np.uint8).astype(np.int64)
    coded = (given >= CODED) & (sizes < DType.INT64.size)
    bits = np.where(coded, given - CODED, given)
    if (bits > 8 * sizes - coded).any():
        raise PackingError("values in more bits than their type has")
    lengths = (counts * bits + 7) // 8
    plain = int(lengths.sum())
    above = _from_ones(packed[plain:], int(counts[coded].sum()))
    if above is None or len(packed) < plain:
        raise PackingError(f"{len(packed)} bytes for {counts.sum()} values, {plain} expected")
    starts, firsts = np.cumsum(lengths) - lengths, np.cumsum(counts * coded) - counts * coded
    many = bool(counts.sum() >= MANY_VALUES)
    found = [b""] * len(runs)
    for dtype in DType:
        chosen = np.flatnonzero(sizes == dtype.size)
        if not chosen.size:
            continue
        own = counts[chosen]
        values = _unpacked(packed, starts[chosen], bits[chosen], counts=own, dtype=dtype)
        if coded[chosen].any():
            inside = np.repeat(coded[chosen], own)
            place = np.repeat(firsts[chosen] - (np.cumsum(own) - own), own) + np.arange(len(values))
            widths_inside = np.repeat(bits[chosen], own)[inside]
            values[inside] = _unfolded(values[inside], above[place[inside]], widths_inside, dtype)
        if not np.array_equal(_widths(values, own, dtype, many=many), given[chosen]):
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


def _widths(values: NDArray[np.signedinteger], counts: _Ints, dtype: DType, *, many: bool) -> _Ints:
    """The byte of each run; many: whether there are enough values, of all types, to code any."""
    widths = _least_widths(values, counts, dtype)
    if dtype is DType.INT64 or not many:
        return widths
    starts = np.cumsum(counts) - counts
    folded = _folded(values)
    means = np.add.reduceat(folded, starts) * 45 // (64 * counts)  # ln 2 is 45 / 64
    lowest: _Ints = (means[:, None] >> np.arange(33) != 0).sum(axis=1)
    above = np.add.reduceat(folded >> np.repeat(lowest, counts), starts)
    coded = (counts * (lowest + 1) + above < counts * widths) & (counts * dtype.size <= PACKED_BYTES)
    return np.where(coded, CODED + lowest, widths)


def _least_widths(values: NDArray[np.signedinteger], counts: _Ints, dtype: DType) -> _Ints:
    """Of plain runs: 0 for zeros alone, else what holds all values and their sign."""
    full = 8 * dtype.size
    starts = np.cumsum(counts) - counts
    # The bits that differ from the sign; -1 has none of them, and still needs a sign.
    magnitudes: _Ints = np.maximum.reduceat(values ^ (values >> (full - 1)), starts).astype(np.int64)
    lows = np.minimum.reduceat(values, starts)
    widths: _Ints = 1 + (magnitudes[:, None] >> np.arange(full - 1) != 0).sum(axis=1)
    widths[(magnitudes == 0) & (lows == 0)] = 0
    widths[(counts * dtype.size > PACKED_BYTES) | (dtype is DType.INT64)] = full
    return widths


def _folded(values: NDArray[np.signedinteger]) -> _Ints:
    """Values with their sign in the lowest bit, so that small ones are small numbers."""
    wide = values.astype(np.int64)
    return (wide << 1) ^ (wide >> 63)


def _unfolded(low: NDArray[np.signedinteger], high: _Ints, widths: _Ints, dtype: DType) -> _Ints:
    """Values from the lowest bits of what they fold to, and what is above them."""
    folded = (high << widths) | (low.astype(np.int64) & ((1 << widths) - 1))
    values: _Ints = (folded >> 1) ^ -(folded & 1)
    if (values < dtype.low).any() or (values > dtype.high).any():
        raise PackingError("values in more bits than their type has")
    return values


def _in_ones(above: _Ints) -> bytes:
    """Each number as so many zeros and a one."""
    if not above.size:
        return b""
    ends = np.cumsum(above + 1)
    bits = np.zeros(ends[-1], np.uint8)
    bits[ends - 1] = 1
    return np.packbits(bits, bitorder="little").tobytes()


def _from_ones(packed: bytes, count: int) -> _Ints | None:
    """So many numbers from all of some bytes; None if there are more or fewer."""
    if not count:
        return None if packed else np.zeros(0, np.int64)
    bits = np.unpackbits(np.frombuffer(packed, np.uint8), bitorder="little").view(np.bool_)
    if np.count_nonzero(bits) != count:  # before there is a number for each
        return None
    ends = np.flatnonzero(bits)
    if len(packed) != int(ends[-1]) // 8 + 1:
        return None
    above: _Ints = ends.astype(np.int64)
    above[1:] -= ends[:-1] + 1
    return above


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
