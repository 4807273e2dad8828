"""The slope of SiLU as a table, for the backward pass of a gate; `pouw.arithmetic.tables` says how exact."""

from decimal import Context, Decimal
from typing import Final

import numpy as np

from pouw.arithmetic.tables import round_half_up

_EXACT: Final = Context(prec=50)


def silu_slopes(numerator: int, denominator: int, units: int) -> bytes:
    """Values of s + x * s * (1 - s), s = sigmoid(x), for x = v * numerator / denominator, v = -128..127.

    Args:
        numerator: positive.
        denominator: positive.
        units: an entry of this size stands for 1, at most 29,000: slopes lie between -0.1 and 1.1.

    Returns:
        256 int16, little endian.
    """

    def entry(v: int) -> int:
        x = _EXACT.divide(Decimal(v * numerator), Decimal(denominator))
        open_part = _EXACT.divide(Decimal(1), _EXACT.add(Decimal(1), _EXACT.exp(_EXACT.minus(x))))
        shut = _EXACT.subtract(Decimal(1), open_part)
        slope = _EXACT.multiply(open_part, _EXACT.add(Decimal(1), _EXACT.multiply(x, shut)))
        return round_half_up(_EXACT.multiply(slope, Decimal(units)))

    return np.array([entry(v) for v in range(-128, 128)], "<i2").tobytes()
