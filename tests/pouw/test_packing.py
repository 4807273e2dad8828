"""Opened values in as few bits as they need: one form, and nothing else is read."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pouw.proofs.packing import CODED, MANY_VALUES, PACKED_BYTES, PackingError, Run, pack, unpack
from pouw.tensors import DType

ZEROS = Run(MANY_VALUES, DType.INT8)


@st.composite
def opened(draw: st.DrawFn) -> tuple[list[Run], list[bytes]]:
    """Some runs, each within a range of its own."""
    runs, data = [], []
    for _ in range(draw(st.integers(1, 6))):
        dtype = draw(st.sampled_from(DType))
        bits = draw(st.integers(0, 8 * dtype.size - 1))
        low, high = -(1 << bits), (1 << bits) - 1
        values = draw(st.lists(st.integers(low, high) | st.just(0), min_size=1, max_size=40))
        runs.append(Run(len(values), dtype))
        data.append(np.array(values, dtype.numpy).tobytes())
    if draw(st.booleans()):
        runs.append(ZEROS)
        data.append(bytes(ZEROS.size))
    return runs, data


def bits_of(values: list[int]) -> int:
    """The least width, in plain Python."""
    return max((v if v >= 0 else ~v).bit_length() + 1 for v in values) if any(values) else 0


def coded(values: list[int]) -> tuple[int, int]:
    """How many bits of each value of a coded run stay together, and how many the rest of all takes."""
    folded = [2 * v if v >= 0 else -2 * v - 1 for v in values]
    lowest = (sum(folded) * 45 // (64 * len(folded))).bit_length()
    return lowest, sum((value >> lowest) + 1 for value in folded)


def test_a_run_with_one_large_value_is_coded() -> None:
    run, values = Run(8, DType.INT16), [0, -1, 1, 0, 2, -2, 90, 0]
    others = Run(MANY_VALUES - 8, DType.INT8)
    # Folded 0 1 2 0 4 3 180 0, in the mean 23: five bits each, and the rest of 180 is 5.
    raw = np.array(values, "<i2").tobytes()
    assert pack([run], [raw])[0] == b"\x08"
    widths, packed = pack([others, run], [bytes(others.size), raw])
    assert widths == bytes([0, CODED + 5])
    low = sum(value % 32 << 5 * place for place, value in enumerate([0, 1, 2, 0, 4, 3, 180, 0]))
    rest = sum(1 << place for place in (0, 1, 2, 3, 4, 5, 11, 12))
    assert packed == low.to_bytes(5, "little") + rest.to_bytes(2, "little")
    assert unpack([others, run], widths, packed) == [bytes(others.size), raw]


@pytest.mark.parametrize(
    "packed",
    [
        "00 00 00 00",  # no ones
        "00 00 ff",  # a value too many
        "00 00 0f 00",  # a byte behind the last one
        "00 00 87 00 01",  # a value beyond its type
    ],
)
def test_coded_runs_that_are_none(packed: str) -> None:
    with pytest.raises(PackingError):
        unpack([Run(4, DType.INT8), ZEROS], bytes([CODED + 4, 0]), bytes.fromhex(packed))


def test_the_example_of_the_docstring() -> None:
    run = Run(4, DType.INT16)
    data = np.array([5, -3, 2, 0], "<i2").tobytes()
    assert pack([run], [data]) == (b"\4", bytes.fromhex("d502"))
    assert unpack([run], b"\4", bytes.fromhex("d502")) == [data]


@given(opened())
def test_what_was_packed_is_unpacked(case: tuple[list[Run], list[bytes]]) -> None:
    runs, data = case
    widths, packed = pack(runs, data)
    assert unpack(runs, widths, packed) == data
    ends, above = 0, 0
    many = sum(run.length for run in runs) >= MANY_VALUES
    for run, width, raw in zip(runs, widths, data, strict=True):
        values = np.frombuffer(raw, run.dtype.numpy).tolist()
        least = 64 if run.dtype is DType.INT64 else bits_of(values)
        lowest, ones = coded(values)
        if many and run.dtype is not DType.INT64 and ones + run.length * lowest < run.length * least:
            assert width == CODED + lowest
            ends, above = ends - (-run.length * lowest // 8), above + ones
        else:
            assert width == least
            ends -= -run.length * width // 8
    assert len(packed) == ends - (-above // 8)


@given(opened(), st.data())
def test_runs_have_one_form(case: tuple[list[Run], list[bytes]], data: st.DataObject) -> None:
    """Whatever is read is what `pack` would have written."""
    runs, raw = case
    widths, packed = map(bytearray, pack(runs, raw))
    for _ in range(data.draw(st.integers(1, 2))):
        changed = data.draw(st.sampled_from([part for part in (widths, packed) if part]))
        changed[data.draw(st.integers(0, len(changed) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    try:
        read = unpack(runs, bytes(widths), bytes(packed))
    except PackingError:
        return
    assert pack(runs, read) == (bytes(widths), bytes(packed))


def test_extremes_keep_their_values() -> None:
    for dtype in DType:
        for values in ([dtype.low], [dtype.high], [dtype.low, dtype.high, 0, -1], [-1], [0], [1]):
            run, raw = Run(len(values), dtype), np.array(values, dtype.numpy).tobytes()
            assert unpack([run], *pack([run], [raw])) == [raw]


def test_long_runs_travel_as_they_are() -> None:
    for size, width in ((PACKED_BYTES, 2), (PACKED_BYTES + 1, 8)):
        run, raw = Run(size, DType.INT8), b"\1" * size
        widths, packed = pack([run], [raw])
        assert widths == bytes([width])
        assert unpack([run], widths, packed) == [raw]
    with pytest.raises(PackingError):
        unpack([run], b"\2", b"\x55" * (size // 4) + b"\1")


@pytest.mark.parametrize(
    ("widths", "packed", "message"),
    [
        (b"", b"", "0 widths of 1 runs"),
        (b"\4\4", b"\xd5\2", "2 widths of 1 runs"),
        (b"\4", b"\xd5\2\0", "3 bytes for 4 values, 2 expected"),
        (b"\4", b"\xd5", "1 bytes for 4 values, 2 expected"),
        (b"\5", b"\xa5\x0b\0", "values in more bits than they need"),
        (b"\x11", bytes(9), "values in more bits than their type has"),
        (b"\3", b"\x53\x10", "bits behind the last value of a run"),
        (b"\1", b"\0", "values in more bits than they need"),
    ],
)
def test_refusals(widths: bytes, packed: bytes, message: str) -> None:
    with pytest.raises(PackingError) as caught:
        unpack([Run(4, DType.INT16)], widths, packed)
    assert str(caught.value) == message


def test_no_runs() -> None:
    assert pack([], []) == (b"", b"")
    assert unpack([], b"", b"") == []
    with pytest.raises(PackingError):
        unpack([], b"", b"\0")
