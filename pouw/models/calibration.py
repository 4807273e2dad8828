"""What turning floats into integers shares between families: ranges seen on samples, channels, fixed point.

Float arithmetic differs between machines, so this runs once, where a model is published; its result is the
model, and nobody repeats it.
"""

from dataclasses import dataclass, field
from math import frexp, log2
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pouw.arithmetic.tables import FRACTION_BITS
from pouw.tensors import Array

Doubles = NDArray[np.float64]

SCALE_BITS: Final = 22
"""Channel scales are below 2^22: four digits more than int8 needs, and far from leaving int64."""

ENOUGH: Final = 64
"""Units that a usual value of the residual stream must have for 16 bits to do."""

SMOOTHING: Final = 0.5
"""How much of an outlying channel the weights take over; see SmoothQuant, arXiv 2211.10438, section 4."""

EXPONENT: Final = log2(2.718281828459045) * (1 << FRACTION_BITS)
"""A difference of 1 in a natural exponent, in 256ths of a power of two."""

_LEAST: Final = 1e-6
"""A range that was never seen to move is given this size."""


@dataclass(slots=True)
class Ranges:
    """The least and greatest value of every channel of every tensor shown."""

    low: dict[str, Doubles] = field(default_factory=dict)
    high: dict[str, Doubles] = field(default_factory=dict)
    usual: float = float("inf")
    """The least root mean square of a residual stream, whose names begin with x or y."""

    def watch(self, name: str, value: NDArray[np.float32]) -> None:
        """Take a tensor [n, channels] into account."""
        low, high = value.min(axis=0).astype(np.float64), value.max(axis=0).astype(np.float64)
        self.low[name] = np.minimum(self.low.get(name, low), low)
        self.high[name] = np.maximum(self.high.get(name, high), high)
        if name[0] in "xy":
            self.usual = min(self.usual, float(np.sqrt(np.mean(value.astype(np.float64) ** 2))))

    def size(self, name: str) -> Doubles:
        """The largest size of each channel."""
        size: Doubles = np.maximum(np.maximum(np.abs(self.low[name]), np.abs(self.high[name])), _LEAST)
        return size

    def largest(self, name: str) -> float:
        """The largest size of any channel."""
        return float(self.size(name).max())

    def middle(self, name: str) -> Doubles:
        """The middle of each channel's interval."""
        middle: Doubles = (self.low[name] + self.high[name]) / 2
        return middle

    def reach(self, name: str) -> Doubles:
        """Half the width of each channel's interval."""
        reach: Doubles = np.maximum((self.high[name] - self.low[name]) / 2, _LEAST)
        return reach


def smoothed(reach: Doubles, weights: Doubles) -> Doubles:
    """A step per channel: what outlies is shared between the channel and the weights that read it.

    Args:
        reach: of each channel.
        weights: the largest weight that reads each.
    """
    smooth = reach**SMOOTHING / np.maximum(weights, _LEAST) ** (1 - SMOOTHING)
    steps: Doubles = smooth * float((reach / smooth).max()) / 127
    return steps


@dataclass(frozen=True, slots=True)
class Channels:
    """A matrix in integers.

    Args:
        matrix: int8 [n,k].
        steps: what one unit of each row's products stands for, [n,1].
        scale: int32 [n,1].
        shift: of the product with the scale.
    """

    matrix: Array
    steps: Doubles
    scale: Array
    shift: int


def by_channel(matrix: NDArray[np.floating], gives: float | Doubles) -> Channels:
    """Round a matrix row by row.

    Args:
        matrix: [n,k], in units of what it reads.
        gives: what one unit of the result stands for: of all rows, or of each [n,1].
    """
    steps = np.maximum(np.abs(matrix).max(axis=1, keepdims=True), 1e-12).astype(np.float64) / 127
    scale = steps / gives
    shift = min(60, max(0, SCALE_BITS - frexp(float(scale.max()))[1]))
    return Channels(
        np.rint(matrix / steps).astype(np.int8), steps, np.rint(scale * 2.0**shift).astype(np.int32), shift
    )


def fixed(value: float, *, bits: int) -> tuple[int, int]:
    """A number as (multiplier, shift), the multiplier of so many bits if that leaves the shift in 0..40."""
    shift = min(40, max(0, bits - frexp(value)[1]))
    return max(1, round(value * 2.0**shift)), shift
