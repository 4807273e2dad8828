"""What the backward ops of a transformer compute, in numpy: the definition, for the reference and the checks.

As in `pouw.arithmetic.transformer_rows`, whole rows come in, each is treated by itself, nothing raises and
nothing leaves int64 for values that a program can hold. Errors (gradients of the loss by a tensor of the
model) are int16: int8 errors cost a model several percent of its loss, int16 ones next to nothing, and an
int16 matrix is two int8 matrices to whoever multiplies.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from pouw.arithmetic.cross_entropy import LOGIT, NATS, PART, POWER, REACH, WHOLE
from pouw.arithmetic.fixed import Wide, clamped, half, rounded
from pouw.arithmetic.logarithms import MANTISSA, logarithms
from pouw.arithmetic.tables import TURN_BITS
from pouw.arithmetic.transformer_rows import NORM_BITS, norm_factor, squares
from pouw.tensors import Array

ERROR_LIMIT: Final = 127 * 256 + 127
"""Errors lie within -ERROR_LIMIT..ERROR_LIMIT, so that high * 256 + low with two int8 parts gives each."""

SHARE: Final = 15
"""Scale of shares of attention and of chances of tokens; a whole is held at 32,767 and ERROR_LIMIT."""

NATS_ABOVE_LOGIT: Final = NATS - LOGIT

GUARD: Final = 8
"""Bits below an error that the gradient of a norm keeps until its last shift."""


def parts(errors: Array) -> tuple[NDArray[np.int8], NDArray[np.int8]]:
    """Errors as two int8 tensors: high * 256 + low."""
    wide = errors.astype(np.int64)
    high = (wide + 128) >> 8
    return high.astype(np.int8), (wide - (high << 8)).astype(np.int8)


def divided(value: Wide, by: Wide) -> Wide:
    """Quotients rounded half up; `by` is positive."""
    quotient: Wide = (2 * value + by) // (2 * by)
    return quotient


def wide_rows(total: Wide, onto: Wide | None, added: Wide | int | None, *, shift: int, limit: int) -> Wide:
    """Sums of products, shifted, on top of what is there, and clamped.

    Args:
        total: sums.
        onto: of total's shape, or None.
        added: what goes in before the shift, `pouw.arithmetic.stochastic.spread`, or None to round half up.
        shift: 0..24 with chance, else 0..62.
        limit: results lie in -limit..limit.
    """
    value = (total + (half(shift) if added is None else added)) >> shift
    return clamped(value if onto is None else value + onto, limit)


def norm_gradient_rows(
    x: Array, errors: Array, onto: Array | None, *, epsilon: int, shift: int
) -> NDArray[np.int16]:
    """The gradient by x of x / rms(x), for the errors of its result, on top of those that bypass the norm.

    out = clamp(onto + (e - n * mean(n * e)) / rms(x)) with n = x / rms(x)

    Args:
        x: [m,d].
        errors: int32 [m,d].
        onto: int16 [m,d] or None.
        epsilon: as the norm adds it.
        shift: NORM_BITS + GUARD, less the fraction bits of x, and those by which the result is coarser.
    """
    wide, given = x.astype(np.int64), errors.astype(np.int64)
    count = x.shape[1]
    sums = (squares(wide) + epsilon).tolist()
    factors = np.array([norm_factor(total, count) for total in sums], np.int64)
    inverse, places = factors[:, :1], factors[:, 1:]
    normed = (wide * inverse + _halves(places)) >> places
    along = divided((normed * given).sum(axis=1, keepdims=True), np.array(count, np.int64))
    across = (given << GUARD) - rounded(normed * along, 2 * NORM_BITS - GUARD)
    places = places + shift
    value = (across * inverse + _halves(places)) >> places
    if onto is not None:
        value = value + onto.astype(np.int64)
    return clamped(value, ERROR_LIMIT).astype(np.int16)


def _halves(places: Wide) -> Wide:
    """See `pouw.arithmetic.fixed.half`, for a shift of each row."""
    result: Wide = np.left_shift(np.int64(1), places) >> 1
    return result


def rotary_gradient_rows(errors: Array, turns: Array) -> NDArray[np.int16]:
    """Pairs (i, i + dim/2) of one head turned back by a position's angles.

    Args:
        errors: int16 [m,dim].
        turns: int16 [m,dim], cosines then sines, in units of 2^-14.
    """
    middle = errors.shape[1] >> 1
    wide, both = errors.astype(np.int64), turns.astype(np.int64)
    first, second = wide[:, :middle], wide[:, middle:]
    cos, sin = both[:, :middle], both[:, middle:]
    turned = np.concatenate([first * cos + second * sin, second * cos - first * sin], axis=1)
    return clamped(rounded(turned, TURN_BITS), ERROR_LIMIT).astype(np.int16)


def share_rows(weights: Array) -> NDArray[np.int16]:
    """Weights over their sum, at scale SHARE.

    Args:
        weights: int8 [m,n], from `pouw.arithmetic.transformer_rows.weight_row`.
    """
    wide = weights.astype(np.int64)
    sums = np.maximum(wide.sum(axis=-1, keepdims=True), 1)
    return np.minimum(divided(wide << SHARE, sums), (1 << SHARE) - 1).astype(np.int16)


def score_error_rows(weights: Wide, pulls: Wide, *, shift: int) -> NDArray[np.int16]:
    """The gradient by natural scores of a mix of values.

    out = clamp(p * (pull - mean of pulls under p) >> shift) with p = weights / sum of weights

    Args:
        weights: [...,n], int8 values; those of an honest row are 0..127.
        pulls: [...,n], the error of the mix times each value, below 2^42 in size.
        shift: bits by which the result is coarser than pulls.
    """
    sums = np.maximum(weights.sum(axis=-1, keepdims=True), 1)
    centre = divided((weights * pulls).sum(axis=-1, keepdims=True), sums)
    return clamped(divided(weights * (pulls - centre), sums << shift), ERROR_LIMIT).astype(np.int16)


def scaled_rows(total: Wide, *, multiplier: int, shift: int) -> NDArray[np.int16]:
    """Sums times a constant, shifted and clamped to errors."""
    return clamped(rounded(total * multiplier, shift), ERROR_LIMIT).astype(np.int16)


def gate_gradient_rows(
    errors: Array, gate: Array, up: Array | None, *, table: bytes, shift: int
) -> NDArray[np.int16]:
    """Errors times table[gate] and perhaps times up, shifted; see `transformer_rows.gate_rows`."""
    opened = np.frombuffer(table, "<i2").astype(np.int64)[gate.astype(np.int64) + 128]
    value = errors.astype(np.int64) * opened
    if up is not None:
        value = value * up.astype(np.int64)
    return clamped(rounded(value, shift), ERROR_LIMIT).astype(np.int16)


def _shares_of_tokens(logits: Array) -> tuple[Wide, Wide]:
    """e^(logit - greatest) at scale POWER, see `cross_entropy`, and how far below each logit is."""
    wide = logits.astype(np.int64)
    below = wide.max(axis=1, keepdims=True) - wide
    near = np.minimum(below, (REACH << LOGIT) - 1)
    return WHOLE[near >> LOGIT] * PART[near & ((1 << LOGIT) - 1)] >> POWER, below


def token_gradient_rows(logits: Array, labels: Array) -> NDArray[np.int16]:
    """Softmax of each row, less one at its label, at scale SHARE.

    Args:
        logits: int16 or int32 [m,n] at scale LOGIT.
        labels: [m]; a negative one makes its row zero, one that is no column subtracts nothing.
    """
    shares, _ = _shares_of_tokens(logits)
    chances = divided(shares << SHARE, shares.sum(axis=1, keepdims=True))
    column = labels.astype(np.int64).reshape(-1, 1)
    hit = column == np.arange(logits.shape[1])
    errors = clamped(chances - (hit.astype(np.int64) << SHARE), ERROR_LIMIT)
    return np.where(column < 0, 0, errors).astype(np.int16)


def token_loss_rows(logits: Array, labels: Array) -> NDArray[np.int32]:
    """The cross-entropy of each row, [m,1], in nats at scale `pouw.arithmetic.cross_entropy.NATS`.

    The logarithm of the sum of powers is looked up by its upper MANTISSA + 1 bits: exact to 2^-12. Logits
    that lie REACH or more below the greatest count as if so near in the sum.

    Args:
        logits: int16 or int32 [m,n] at scale LOGIT.
        labels: [m]; the loss of a negative one is 0, of one that is no column that of the last.
    """
    shares, below = _shares_of_tokens(logits)
    column = np.clip(labels.astype(np.int64), 0, logits.shape[1] - 1).reshape(-1, 1)
    total = shares.sum(axis=1, keepdims=True)
    exponent = np.array([int(x).bit_length() - 1 for x in total[:, 0]], np.int64).reshape(-1, 1)
    table = logarithms()
    lead = (total >> (exponent - MANTISSA)) - (1 << MANTISSA)
    value = (exponent - POWER) * table[-1] + table[lead]
    value = value + (np.take_along_axis(below, column, axis=1) << NATS_ABOVE_LOGIT)
    return np.where(labels.reshape(-1, 1) < 0, 0, np.minimum(value, np.iinfo(np.int32).max)).astype(np.int32)


def momentum_rows(momentum: Array, gradient: Array, *, decay: int, limit: int) -> NDArray[np.int32]:
    """clamp(M - M / 2^decay + G): 2^decay times the mean of the gradients, later ones counting more."""
    before = momentum.astype(np.int64)
    return clamped(before - rounded(before, decay) + gradient.astype(np.int64), limit).astype(np.int32)


def lion_rows(
    master: Array,
    momentum: Array,
    gradient: Array,
    *,
    rate: int,
    fade: int,
    keep: int,
    lift: int,
    limit: int,
) -> NDArray[np.int32]:
    """clamp(W - rate * sign(keep * M + G * 2^lift) - W * rate / 2^fade)."""
    wide = master.astype(np.int64)
    turn = np.sign(keep * momentum.astype(np.int64) + (gradient.astype(np.int64) << lift))
    return clamped(wide - rate * turn - rounded(wide * rate, fade), limit).astype(np.int32)
