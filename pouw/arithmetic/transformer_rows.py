"""What the ops of a transformer compute, in numpy: the definition, for the reference and for the checks.

Every function takes whole rows and treats each by itself: no result depends on another row, so a batch, a
prefix and a single token give the same bits. None raises or leaves int64, whatever the values of its types:
the checks run them on rows that a peer sent.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from pouw.arithmetic.fixed import Wide, clamped, reciprocal_root, rounded
from pouw.arithmetic.generator import random_bytes
from pouw.arithmetic.tables import FRACTION_BITS, WEIGHT_STEPS, attention_weights, powers_of_two
from pouw.tensors import Array

NORM_BITS: Final = 16
"""A normed value, before its gain, is in units of 2^-16."""

ROOT_SUM_MAX: Final = 1 << 61
"""Bounds the sum of squares of a row, with epsilon."""

TOP_P_ALL: Final = 1024
"""Shares of the likeliest are counted in 1024ths: 2^20 shares below 2^31, times this, stay in int64."""

SAMPLE_STEPS: Final = 31 << FRACTION_BITS
"""2^30 * 2^-31 is 0: logits that far below the greatest are never drawn."""

_MIX_BITS: Final = 8


def linear_rows(total: Wide, scale: Wide, residual: Wide | None, *, shift: int, limit: int) -> Wide:
    """Sums of products, each times its channel's scale, shifted, on top of the residual, and clamped.

    Args:
        total: int32 range.
        scale: below 2^30 in size; broadcasts against total.
        residual: of total's shape, or None.
        shift: 0..62.
        limit: results lie in -limit..limit.
    """
    value = rounded(total * scale, shift)
    return clamped(value if residual is None else value + residual, limit)


def norm_rows(x: Array, gain: Array, *, epsilon: int, shift: int) -> NDArray[np.int8]:
    """Each row divided by its root mean square, times the gain.

    out = clamp((x / rms in units of 2^-16) * gain >> shift)

    Args:
        x: [m,d].
        gain: [1,d].
        epsilon: added to the sum of squares, at least 1.
        shift: NORM_BITS and the fraction bits of the gain, less those of the result.
    """
    wide = x.astype(np.int64)
    normed = np.empty_like(wide)
    for row, total in enumerate((squares(wide) + epsilon).tolist()):
        inverse, places = norm_factor(total, x.shape[1])
        normed[row] = rounded(wide[row] * inverse, places)
    return clamped(rounded(normed * gain.astype(np.int64), shift), 127).astype(np.int8)


def squares(wide: Wide) -> Wide:
    """The sum of the squares of each row, [m], held within what `norm_factor` takes: a peer sends any row."""
    sums: Wide = (wide * wide).sum(axis=1)
    return np.minimum(np.maximum(sums, 0), ROOT_SUM_MAX)


def norm_factor(total: int, count: int) -> tuple[int, int]:
    """What a row is multiplied with, and shifted by, to be divided by its root mean square.

    Args:
        total: the sum of squares with epsilon, 1..2^62-1.
        count: values of the row.
    """
    # The mean of a small sum keeps its fraction: the sum is brought to 60 bits before it is divided.
    lift = (62 - total.bit_length()) >> 1
    inverse, turn = reciprocal_root((total << 2 * lift) // count)
    return inverse, 61 - NORM_BITS - lift - turn


def rotary_rows(x: Array, turns: Array, *, shift: int) -> NDArray[np.int8]:
    """Pairs (i, i + dim/2) of one head turned by a position's angles.

    Args:
        x: int16 [m,dim].
        turns: int16 [m,dim], cosines then sines, in units of 2^-14.
        shift: TURN_BITS and what the result is narrower.
    """
    middle = x.shape[1] >> 1
    wide, both = x.astype(np.int64), turns.astype(np.int64)
    first, second = wide[:, :middle], wide[:, middle:]
    cos, sin = both[:, :middle], both[:, middle:]
    turned = np.concatenate([first * cos - second * sin, first * sin + second * cos], axis=1)
    return clamped(rounded(turned, shift), 127).astype(np.int8)


def weight_row(query: Array, keys: Array, *, multiplier: int, shift: int) -> NDArray[np.int8]:
    """How much a query looks at each key, 127 at the most: round(127 * 2^((score - greatest) * scale)).

    The weights are not divided by their sum here: int8 shares of a long context would all be 0. The sum is
    that of the row, and whoever mixes values with the row divides by it.

    Args:
        query: int8 [dim].
        keys: int8 [n,dim].
        multiplier: of a difference of scores.
        shift: the product, shifted, is an exponent of two in 256ths.
    """
    scores = keys.astype(np.int64) @ query.astype(np.int64)
    steps = rounded((scores.max() - scores) * multiplier, shift)
    return attention_weights()[np.minimum(steps, WEIGHT_STEPS - 1)]


def mix_values(total: Wide, weight: Wide, *, gain: int) -> NDArray[np.int8]:
    """Weighted sums of values over the sums of their weights, times gain / 256, rounded half up.

    Args:
        total: sums of weight * value.
        weight: sums of weights; those of an honest row are 127 at least.
        gain: 1..65535.
    """
    weight = np.maximum(weight, 1)
    doubled = 2 * total * gain + (weight << _MIX_BITS)
    return clamped(doubled // (weight << (_MIX_BITS + 1)), 127).astype(np.int8)


def gate_rows(gate: Array, up: Array, *, table: bytes, shift: int) -> NDArray[np.int8]:
    """table[gate] * up, shifted and clamped; the table holds 256 int16 values for -128..127."""
    opened = np.frombuffer(table, "<i2").astype(np.int64)[gate.astype(np.int64) + 128]
    return clamped(rounded(opened * up.astype(np.int64), shift), 127).astype(np.int8)


def draw_token(
    logits: Array,
    *,
    multiplier: int,
    shift: int,
    seed: bytes,
    position: int,
    top_k: int = 0,
    top_p: int = TOP_P_ALL,
) -> int:
    """One token, drawn in proportion to 2^((logit - greatest) * scale) from the likeliest.

    The inverse of the cumulative distribution: one number of the generator decides, whatever the vocabulary.
    Likelier is who has the greater logit, and of equals who has the lower number.

    Args:
        logits: int8 to int32 [n], n at most 2^20.
        multiplier: of a difference of logits; it holds the temperature.
        shift: the product, shifted, is an exponent of two in 256ths.
        seed: of the request.
        position: of the row in its sequence; every position draws by itself.
        top_k: how many of the likeliest may be drawn; 0 for all.
        top_p: of those, the fewest that together have this share, in 1024ths, of what all of them have.
    """
    wide = logits.astype(np.int64)
    steps = np.minimum(rounded((wide.max() - wide) * multiplier, shift), SAMPLE_STEPS)
    shares = powers_of_two()[steps & ((1 << FRACTION_BITS) - 1)] >> (steps >> FRACTION_BITS)
    if top_k or top_p < TOP_P_ALL:
        shares = of_likeliest(wide, shares, top_k=top_k, top_p=top_p)
    ends = np.cumsum(shares)
    word = int.from_bytes(random_bytes(seed, path=(position,), count=8), "little")
    return int(np.searchsorted(ends, word % int(ends[-1]), side="right"))


def of_likeliest(wide: Wide, shares: Wide, *, top_k: int, top_p: int) -> Wide:
    """The shares of the likeliest tokens; those of all others are 0."""
    order = np.argsort(-wide, kind="stable")[: top_k or None]
    ends = np.cumsum(shares[order])
    count = int(np.searchsorted(ends * TOP_P_ALL, top_p * ends[-1], side="left")) + 1
    kept = np.zeros_like(shares)
    kept[order[:count]] = shares[order[:count]]
    return kept
