"""Requantisation against exact fractions, at the ends of its range, and as an interval."""

from fractions import Fraction
from math import floor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pouw.arithmetic.requant import MAX_MULTIPLIER, MAX_SHIFT, Requant
from pouw.program_error import ProgramError, ProgramReason

TABLE = bytes((13 * i + 5) & 255 for i in range(256))

requants = st.builds(
    lambda multiplier, shift, ends, table: Requant(
        multiplier, shift, low=min(ends), high=max(ends), table=table
    ),
    st.integers(1, MAX_MULTIPLIER),
    st.integers(0, MAX_SHIFT),
    st.tuples(st.integers(-128, 127), st.integers(-128, 127)),
    st.sampled_from([None, TABLE]),
)
sums = st.one_of(
    st.integers(-(2**32), 2**32), st.sampled_from([-(2**32), -(2**31), -1, 0, 1, 2**31 - 1, 2**32])
)


@given(requants, st.lists(sums, min_size=1))
def test_arrays_numbers_and_fractions_agree(requant: Requant, values: list[int]) -> None:
    def exact(x: int) -> int:
        rounded = floor(
            Fraction(x * requant.multiplier, 2**requant.shift) + (Fraction(1, 2) if requant.shift else 0)
        )
        clamped = min(max(rounded, requant.low), requant.high)
        return clamped if requant.table is None else int(np.int8(np.uint8(requant.table[clamped + 128])))

    expected = [exact(x) for x in values]
    assert [requant.value(x) for x in values] == expected
    result = requant.apply(np.array(values, np.int64))
    assert result.dtype == np.int8
    assert result.tolist() == expected


@given(requants, sums, sums, sums)
def test_the_range_holds_every_value(requant: Requant, a: int, b: int, c: int) -> None:
    low, middle, high = sorted((a, b, c))
    least, most = requant.range(low, high)
    assert least <= requant.value(middle) <= most


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"multiplier": 0}, "multiplier 0"),
        ({"multiplier": MAX_MULTIPLIER + 1}, f"multiplier {MAX_MULTIPLIER + 1}"),
        ({"shift": -1}, "shift -1"),
        ({"shift": 63}, "shift 63"),
        ({"low": -129}, "clamp to -129..127"),
        ({"low": 5, "high": 4}, "clamp to 5..4"),
        ({"high": 128}, "clamp to -127..128"),
        ({"table": bytes(255)}, "a table of 255 entries"),
    ],
)
def test_constants_out_of_bounds(change: dict[str, int], message: str) -> None:
    with pytest.raises(ProgramError, match=message) as caught:
        Requant(**{"multiplier": 1, "shift": 1, **change})
    assert caught.value.reason is ProgramReason.CONSTANT


def test_every_constant_enters_the_encoding() -> None:
    variants = [
        Requant(1, 1),
        Requant(2, 1),
        Requant(1, 2),
        Requant(1, 1, low=0),
        Requant(1, 1, high=5),
        Requant(1, 1, table=TABLE),
    ]
    assert len({requant.encode() for requant in variants}) == len(variants)
