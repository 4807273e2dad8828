"""Attention, after its two products: weights from scores, averages from sums."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pouw.kernels.compiled import compiled


@compiled
def weigh_rows(
    scores: NDArray[Any], visible: int, multiplier: int, shift: int, table: NDArray[Any], out: NDArray[Any],
    start: int, stop: int,
) -> None:  # fmt: skip
    """See `pouw.arithmetic.transformer_rows.weight_row`.

    Relies on scores that differ by 2^25 at most, times 2^30.

    Args:
        scores: int32 [m, at least visible + m - 1].
        visible: keys that row 0 may look at; each row may look at one more than that before it.
        multiplier: of a difference of scores, below 2^30.
        shift: 0..62.
        table: int32, the weights by steps; the last is 0.
        out: int8 [m, span]; keys beyond the visible ones get 0.
        start: the first row.
        stop: one more than the last.
    """
    half = (1 << shift) >> 1
    last = table.size - 1
    steps = np.empty(scores.shape[1], np.int32)
    for i in range(start, stop):
        row, here = scores[i, : visible + i], out[i]
        greatest: Any = np.int64(row[0])
        for j in range(1, row.size):
            greatest = max(greatest, np.int64(row[j]))
        for j in range(row.size):
            step: Any = ((greatest - np.int64(row[j])) * multiplier + half) >> shift
            steps[j] = min(step, last)
        for j in range(row.size):
            here[j] = table[np.uint64(steps[j])]
        here[row.size :] = 0


@compiled
def mix_rows(
    total: NDArray[Any],
    weights: NDArray[Any],
    gain: int,
    out: NDArray[Any],
    column: int,
    start: int,
    stop: int,
) -> None:
    """See `pouw.arithmetic.transformer_rows.mix_values`.

    The division goes by float64, and is exact: |dividend| < 2^31 * 2^17 + 2^33 < 2^53 and the divisor are
    float64 numbers, a quotient that is no integer differs from every integer by 1 / divisor at least, and its
    rounding error is smaller than that: |quotient| * 2^-53 = |dividend| / divisor * 2^-53 < 1 / divisor. So
    correct rounding, which IEEE 754 demands, never carries it to the next integer or beyond.

    Args:
        total: int32 [m,dim], sums of weight * value.
        weights: int8 [m,span], from 0 on.
        gain: 1..65535.
        out: int8 [m, at least column + dim].
        column: of out that is written first.
        start: the first row.
        stop: one more than the last.
    """
    for i in range(start, stop):
        seen, sums, here = weights[i], total[i], out[i, column:]
        weight: Any = np.int64(0)
        for j in range(seen.size):
            weight += np.int64(seen[j])
        weight = max(weight, np.int64(1))
        divisor = float(weight << 9)
        for j in range(sums.size):
            dividend = float(2 * np.int64(sums[j]) * gain + (weight << 8))
            here[j] = int(min(max(np.floor(dividend / divisor), -127.0), 127.0))
