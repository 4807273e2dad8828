"""What follows a product of matrices, in one pass over its sums.

A program's ranges say that no sum with its bias leaves int32, and that no scaled sum leaves int64.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pouw.kernels.compiled import compiled


@compiled
def requant_rows(
    total: NDArray[Any], bias: NDArray[Any], with_bias: bool, multiplier: int, shift: int,
    low: int, high: int, table: NDArray[Any], with_table: bool, out: NDArray[Any], column: int,
) -> None:  # fmt: skip
    """See `pouw.arithmetic.requant.Requant`.

    Args:
        total: int32 [m,n], some neighbouring columns of the whole.
        bias: int32, of all columns; read with `with_bias` alone.
        with_bias: whether it is added.
        multiplier: below 2^30, of numbers below 2^32 in size.
        shift: 0..62.
        low: the least result.
        high: the greatest.
        table: int8 [256]; read with `with_table` alone.
        with_table: whether results are looked up.
        out: int8 [m, all columns].
        column: of out, at which the columns of total start.
    """
    half = (1 << shift) >> 1
    added = bias[column:]
    for i in range(total.shape[0]):
        sums, here = total[i], out[i, column:]
        if with_bias:
            for j in range(sums.size):
                value = (np.int64(sums[j]) + np.int64(added[j])) * multiplier + half
                here[j] = min(max(value >> shift, low), high)
        else:
            for j in range(sums.size):
                here[j] = min(max((np.int64(sums[j]) * multiplier + half) >> shift, low), high)
        if with_table:
            for j in range(sums.size):
                here[j] = table[np.uint64(np.int64(here[j]) + 128)]


@compiled
def scale_rows(
    total: NDArray[Any], scale: NDArray[Any], by_row: bool, residual: NDArray[Any], with_residual: bool,
    shift: int, limit: int, out: NDArray[Any], column: int,
) -> None:  # fmt: skip
    """See `pouw.arithmetic.transformer_rows.linear_rows`.

    Args:
        total: int32 [m,n], some neighbouring columns of the whole.
        scale: int32, of all columns, or of all rows.
        by_row: which of them.
        residual: of out's shape and type; read with `with_residual` alone.
        with_residual: whether it is added.
        shift: 0..62.
        limit: results lie in -limit..limit.
        out: int8, int16 or int32 [m, all columns].
        column: of out, at which the columns of total start.
    """
    half = (1 << shift) >> 1
    by_column = scale if by_row else scale[column:]
    for i in range(total.shape[0]):
        sums, here, before = total[i], out[i, column:], residual[i, column:]
        if by_row and with_residual:
            factor = np.int64(scale[i])
            for j in range(sums.size):
                value = (np.int64(sums[j]) * factor + half) >> shift
                here[j] = min(max(value + np.int64(before[j]), -limit), limit)
        elif by_row:
            factor = np.int64(scale[i])
            for j in range(sums.size):
                here[j] = min(max((np.int64(sums[j]) * factor + half) >> shift, -limit), limit)
        elif with_residual:
            for j in range(sums.size):
                value = (np.int64(sums[j]) * np.int64(by_column[j]) + half) >> shift
                here[j] = min(max(value + np.int64(before[j]), -limit), limit)
        else:
            for j in range(sums.size):
                value = (np.int64(sums[j]) * np.int64(by_column[j]) + half) >> shift
                here[j] = min(max(value, -limit), limit)


@compiled
def greatest_rows(values: NDArray[Any], out: NDArray[Any], start: int, stop: int) -> None:
    """The first greatest column of each row.

    Args:
        values: int8 to int64 [m,n].
        out: of a type that holds n - 1, [m,1].
        start: the first row.
        stop: one more than the last.
    """
    for i in range(start, stop):
        row = values[i]
        best = 0
        for j in range(1, row.size):
            if row[j] > row[best]:
                best = j
        out[i, 0] = best
