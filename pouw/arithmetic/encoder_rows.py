"""What the ops of an encoder compute, in numpy: the definition, for the reference and for the checks.

As in `pouw.arithmetic.transformer_rows`, every row is treated by itself, and nothing raises, whatever the
values of its types: the checks run these functions on rows that a peer sent.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from pouw.arithmetic.fixed import Wide, clamped, rounded
from pouw.arithmetic.transformer_rows import norm_factor, squares
from pouw.tensors import Array

MAX_TABLE_BITS: Final = 14
"""A table of 16,384 entries: finer than int8 can tell, and small enough for a manifest."""


def affine_rows(total: Wide, scale: Wide, residual: Wide | None, *, shift: int, limit: int) -> Wide:
    """Sums with their bias, each times its channel's scale, shifted, on top of the residual, and clamped.

    Args:
        total: sums of products plus bias, int32 range.
        scale: below 2^31 in size; broadcasts against total.
        residual: of total's shape, or None.
        shift: 0..62.
        limit: results lie in -limit..limit.
    """
    value = rounded(total * scale, shift)
    return clamped(value if residual is None else value + residual, limit)


def looked_up(value: Wide, table: bytes) -> NDArray[np.int8]:
    """Entries of a table of int8: the middle one belongs to 0.

    Args:
        value: any; values beyond the table take its ends.
        table: a power of two of bytes.
    """
    middle = len(table) >> 1
    entries = np.frombuffer(table, np.int8)
    opened: NDArray[np.int8] = entries[np.clip(value + middle, 0, len(table) - 1)]
    return opened


def layer_norm_rows(
    x: Array, gain: Array, bias: Array, *, epsilon: int, shift: int, lift: int, limit: int
) -> Wide:
    """Each row less its mean, divided by its deviation, times the gain, plus the bias.

    With the mean rounded half up, and n the quotient in units of 2^-16:
    out = clamp((n * gain + (bias << lift)) >> shift)

    Args:
        x: int16 or int32 [m,d].
        gain: int32 [1,d].
        bias: int32 [1,d].
        epsilon: added to the sum of squared differences, at least 1.
        shift: NORM_BITS and the fraction bits of the gain, less those of the result.
        lift: what the bias is coarser than the product.
        limit: results lie in -limit..limit.
    """
    wide = x.astype(np.int64)
    count = x.shape[1]
    mean = (2 * wide.sum(axis=1, keepdims=True) + count) // (2 * count)
    away = wide - mean
    normed = np.empty_like(away)
    for row, total in enumerate((squares(away) + epsilon).tolist()):
        inverse, places = norm_factor(total, count)
        normed[row] = rounded(away[row] * inverse, places)
    value = normed * gain.astype(np.int64) + (bias.astype(np.int64) << lift)
    return clamped(rounded(value, shift), limit)


def mean_of(total: Wide, count: Wide | int) -> Wide:
    """Sums over counts, rounded half up.

    Args:
        total: below 2^61 in size.
        count: at least 1.
    """
    return (2 * total + count) // (2 * count)
