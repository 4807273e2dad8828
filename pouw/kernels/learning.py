"""What training does beside its products, each op in one pass.

`pouw.backends.reference_training` says what they compute. The ops' `infer` shows that every value on the way
fits int32, so 64 bits have room for all of it.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pouw.kernels.compiled import compiled


@compiled
def _spread(noise: Any, shift: int) -> Any:
    """See `pouw.arithmetic.stochastic.spread`."""
    u = np.int64(noise) + 128
    return u >> (8 - shift) if shift <= 8 else (u << (shift - 8)) + (1 << (shift - 9))


@compiled
def stochastic_rows(
    a: NDArray[Any], noise: NDArray[Any], column: int, gate: NDArray[Any], gated: bool, shift: int,
    out: NDArray[Any], start: int, stop: int,
) -> None:  # fmt: skip
    """See `TrainingBackend.stochastic`.

    Args:
        a: int16 or int32 [m,n].
        noise: int8 [m, at least column + n].
        column: of the noise that goes with column 0.
        gate: int8 [m,n]; read with `gated` alone.
        gated: whether numbers are stopped where it is shut.
        shift: 0..24.
        out: int8 [m,n].
        start: the first row.
        stop: one more than the last.
    """
    for i in range(start, stop):
        values, grain, open_at, here = a[i], noise[i, column:], gate[i], out[i]
        for j in range(values.size):
            value = (np.int64(values[j]) + _spread(grain[j], shift)) >> shift
            here[j] = min(max(value, -127), 127)
        if gated:
            for j in range(values.size):
                here[j] = here[j] if 1 <= open_at[j] <= 126 else 0


@compiled
def round_rows(
    a: NDArray[Any], shift: int, low: int, high: int, out: NDArray[Any], start: int, stop: int
) -> None:
    """See `TrainingBackend.rounded`.

    Args:
        a: int32 [m,n].
        shift: 0..30.
        low: the least result.
        high: the greatest.
        out: int8 or int32 [m,n].
        start: the first row.
        stop: one more than the last.
    """
    half = (1 << shift) >> 1
    for i in range(start, stop):
        values, here = a[i], out[i]
        for j in range(values.size):
            here[j] = min(max((np.int64(values[j]) + half) >> shift, low), high)


@compiled
def velocity_rows(
    speed: NDArray[Any], gradient: NDArray[Any], noise: NDArray[Any], shift: int, friction: int, limit: int,
    out: NDArray[Any], start: int, stop: int,
) -> None:  # fmt: skip
    """See `TrainingBackend.velocity`.

    Args:
        speed: int32 [m,n].
        gradient: int32 [m,n].
        noise: int8 [m,n].
        shift: 0..24.
        friction: 1..16.
        limit: results lie in -limit..limit.
        out: int32 [m,n].
        start: the first row.
        stop: one more than the last.
    """
    half = (1 << friction) >> 1
    for i in range(start, stop):
        speeds, pushes, grain, here = speed[i], gradient[i], noise[i], out[i]
        for j in range(speeds.size):
            before = np.int64(speeds[j])
            pushed = (np.int64(pushes[j]) + _spread(grain[j], shift)) >> shift
            here[j] = min(max(before - ((before + half) >> friction) + pushed, -limit), limit)


@compiled
def descend_rows(
    master: NDArray[Any], speed: NDArray[Any], limit: int, out: NDArray[Any], start: int, stop: int
) -> None:
    """See `TrainingBackend.descend`.

    Args:
        master: int32 [m,n].
        speed: int32 [m,n].
        limit: results lie in -limit..limit.
        out: int32 [m,n].
        start: the first row.
        stop: one more than the last.
    """
    for i in range(start, stop):
        weights, speeds, here = master[i], speed[i], out[i]
        for j in range(weights.size):
            here[j] = min(max(np.int64(weights[j]) - np.int64(speeds[j]), -limit), limit)


@compiled
def loss_rows(
    logits: NDArray[Any], labels: NDArray[Any], label: int, drop: int, whole: NDArray[Any],
    part: NDArray[Any], out: NDArray[Any], start: int, stop: int,
) -> None:  # fmt: skip
    """See `pouw.arithmetic.cross_entropy.loss_gradient`.

    Relies on `LossGradient.infer`: 2^17 classes of 2^30 at most add up to less than 2^63.

    Args:
        logits: int32 [m,n].
        labels: int8 [m, more than label].
        label: the column that holds the labels.
        drop: the scale of the logits less LOGIT.
        whole: WHOLE, int64.
        part: PART, int64, of a power of two of entries.
        out: int16 [m,n].
        start: the first row.
        stop: one more than the last.
    """
    fine = part.size - 1
    bits = 0
    while 1 << bits < part.size:
        bits += 1
    far = (whole.size << bits) - 1
    count = logits.shape[1]
    shares = np.empty(count, np.int64)
    for i in range(start, stop):
        values, here = logits[i], out[i]
        greatest: Any = np.int64(values[0])
        for j in range(1, count):
            greatest = max(greatest, np.int64(values[j]))
        total: Any = np.int64(0)
        for j in range(count):
            below: Any = min((greatest - np.int64(values[j])) >> drop, far)
            shares[j] = whole[np.uint64(below >> bits)] * part[np.uint64(below & fine)] >> 30
            total += shares[j]
        for j in range(count):
            chance = ((shares[j] << 14) + (total >> 1)) // total
            here[j] = chance - 16384 if labels[i, label] == j else chance


@compiled
def turn_squares(a: NDArray[Any], out: NDArray[Any], start: int, stop: int) -> None:
    """A transpose of bytes, eight by eight, each square by swapping the halves of halves of its words.

    Args:
        a: uint64 [m, n / 8]: int8 [m,n], both divisible by eight, seen as words.
        out: uint64 [n, m / 8].
        start: the first eight rows of a.
        stop: one more than the last.
    """
    words = np.empty(8, np.uint64)
    for i in range(start, stop):
        for j in range(a.shape[1]):
            for row in range(8):
                words[row] = a[8 * i + row, j]
            _swap(words, 4, np.uint64(0x00000000FFFFFFFF))
            _swap(words, 2, np.uint64(0x0000FFFF0000FFFF))
            _swap(words, 1, np.uint64(0x00FF00FF00FF00FF))
            for row in range(8):
                out[8 * j + row, i] = words[row]


@compiled
def _swap(words: NDArray[Any], apart: int, low: np.uint64) -> None:
    """Exchange the upper bytes of words with the lower bytes of those `apart` places further on."""
    bits = np.uint64(8 * apart)
    for row in range(8):
        if not row & apart:
            first, second = words[row], words[row + apart]
            words[row] = (first & low) | ((second & low) << bits)
            words[row + apart] = ((first >> bits) & low) | (second & ~low)
