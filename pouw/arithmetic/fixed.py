"""Fixed-point arithmetic in plain integers: shifts that round, clamps, square roots."""

from math import isqrt

import numpy as np
from numpy.typing import NDArray

Wide = NDArray[np.int64]
"""Intermediate values; whoever builds a program has shown that none of them leaves int64."""


def half(shift: int) -> int:
    """What a rounding shift adds before it shifts; 0 for a shift of 0."""
    return (1 << shift) >> 1


def rounded(x: Wide, shift: int) -> Wide:
    """Divide by 2^shift, rounding half up."""
    return (x + half(shift)) >> shift


def clamped(x: Wide, limit: int) -> Wide:
    """X held within -limit..limit."""
    return np.minimum(np.maximum(x, -limit), limit)


def even_headroom(value: int) -> int:
    """The shift t for which value << 2t lies in 2^60..2^62-1; value is 1..2^62-1."""
    return (62 - value.bit_length()) >> 1


def reciprocal_root(mean: int) -> tuple[int, int]:
    """1 / sqrt(mean) as (inverse, shift): inverse * 2^(shift - 61), with 30 bits whatever the size of mean.

    A reciprocal of fixed width loses its bits when the root grows: a model that used one turned into another
    function without a single bit differing between machines. So the root is brought to 2^30..2^31-1 first.

    Args:
        mean: 1..2^62-1.
    """
    shift = even_headroom(mean)
    return (1 << 61) // isqrt(mean << 2 * shift), shift
