"""What a transformer learns by, beside its products, each op in one pass.

`pouw.arithmetic.transformer_training_rows` says what they compute. The ops' `infer` shows that every value on
the way fits int64.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pouw.kernels.compiled import compiled
from pouw.kernels.rows import norm_factor


@compiled
def split_rows(a: NDArray[Any], out: NDArray[Any], start: int, stop: int) -> None:
    """See `pouw.arithmetic.transformer_training_rows.parts`.

    Args:
        a: int16 [m,k], within ERROR_LIMIT.
        out: int8 [2m,k], all high parts and then all low ones.
        start: the first row of a.
        stop: one more than the last.
    """
    for i in range(start, stop):
        values, high, low = a[i], out[i], out[a.shape[0] + i]
        for j in range(values.size):
            value = np.int64(values[j])
            high[j] = (value + 128) >> 8
            # The low byte as it stands, read as int8, is what the rounded high one leaves over.
            low[j] = value & 255


@compiled
def join_rows(
    products: NDArray[Any], onto: NDArray[Any], with_onto: bool, shift: int, limit: int, out: NDArray[Any],
    column: int,
) -> None:  # fmt: skip
    """See `pouw.arithmetic.transformer_training_rows.wide_rows`, of products of the parts of `split_rows`.

    Args:
        products: int32 [2m,n].
        onto: int32 or int16, as large as out; read with `with_onto` alone.
        with_onto: whether there is something to add to.
        shift: 0..62.
        limit: results lie in -limit..limit.
        out: int16 or int32 [m, at least column + n].
        column: of out that is written first.
    """
    half = (1 << shift) >> 1
    rows = products.shape[0] >> 1
    for i in range(rows):
        high, low = products[i], products[rows + i]
        below, here = onto[i, column:], out[i, column:]
        for j in range(high.size):
            value = ((np.int64(high[j]) << 8) + np.int64(low[j]) + half) >> shift
            if with_onto:
                value += np.int64(below[j])
            here[j] = min(max(value, -limit), limit)


@compiled
def norm_gradient_rows(
    x: NDArray[Any], errors: NDArray[Any], onto: NDArray[Any], with_onto: bool, epsilon: int, shift: int,
    most: int, bits: int, guard: int, limit: int, out: NDArray[Any], start: int, stop: int,
) -> None:  # fmt: skip
    """See `pouw.arithmetic.transformer_training_rows.norm_gradient_rows`.

    Args:
        x: int16 or int32 [m,d].
        errors: int32 [m,d].
        onto: int16 [m,d]; read with `with_onto` alone.
        with_onto: whether there is something to add to.
        epsilon: 1..2^60.
        shift: 0..MAX_NORM_SHIFT.
        most: ROOT_SUM_MAX.
        bits: NORM_BITS.
        guard: GUARD.
        limit: ERROR_LIMIT.
        out: int16 [m,d].
        start: the first row.
        stop: one more than the last.
    """
    count = x.shape[1]
    drop = 2 * bits - guard
    dropped = (1 << drop) >> 1
    normed = np.empty(count, np.int64)
    for i in range(start, stop):
        values, given, below, here = x[i], errors[i], onto[i], out[i]
        total: Any = np.int64(0)
        for j in range(count):
            total += np.int64(values[j]) * np.int64(values[j])
        inverse, places = norm_factor(min(total, most) + epsilon, count, bits)
        half = (1 << places) >> 1
        along: Any = np.int64(0)
        for j in range(count):
            normed[j] = (np.int64(values[j]) * inverse + half) >> places
            along += normed[j] * np.int64(given[j])
        along = (2 * along + count) // (2 * count)
        places += shift
        half = (1 << places) >> 1
        for j in range(count):
            across = (np.int64(given[j]) << guard) - ((normed[j] * along + dropped) >> drop)
            value = (across * inverse + half) >> places
            if with_onto:
                value += np.int64(below[j])
            here[j] = min(max(value, -limit), limit)


@compiled
def lion_rows(
    master: NDArray[Any], momentum: NDArray[Any], gradient: NDArray[Any], rate: int, fade: int, keep: int,
    lift: int, limit: int, out: NDArray[Any], start: int, stop: int,
) -> None:  # fmt: skip
    """See `pouw.ops.lion`.

    Args:
        master: int32 [m,n].
        momentum: int32 [m,n].
        gradient: int32 [m,n].
        rate: 1..2^20.
        fade: 1..62.
        keep: 1..2^16.
        lift: 0..16.
        limit: results lie in -limit..limit.
        out: int32 [m,n].
        start: the first row.
        stop: one more than the last.
    """
    half = (1 << fade) >> 1
    for i in range(start, stop):
        weights, speeds, pushes, here = master[i], momentum[i], gradient[i], out[i]
        for j in range(weights.size):
            push = (np.int64(pushes[j]) << lift) + np.int64(speeds[j]) * keep
            turn = rate if push > 0 else -rate if push < 0 else 0
            weight = np.int64(weights[j])
            lost = (weight * rate + half) >> fade
            here[j] = min(max(weight - turn - lost, -limit), limit)
