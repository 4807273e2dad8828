"""Tables of functions, built from exact arithmetic: no floating point, the same bytes everywhere.

Decimal arithmetic is defined digit by digit by the General Decimal Arithmetic specification (its exp and ln
are correctly rounded), so at 50 digits an entry could only be in doubt if the true value lay within 10^-40 of
a rounding boundary; the tests compare with a second way of computing.
"""

from decimal import ROUND_FLOOR, Context, Decimal
from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pouw.arithmetic.rotary_scaling import RotaryScaling

_EXACT: Final = Context(prec=50)

FRACTION_BITS: Final = 8
"""Exponents of two are held in 256ths: half a step is 0.14 % of the value."""

WEIGHT_STEPS: Final = 8 << FRACTION_BITS
"""127 * 2^-8 rounds to 0, so attention weights end there."""

TURN_BITS: Final = 14
"""Sines and cosines are held in units of 2^-14: 1.0 fits int16 and the sum of two products fits int32."""

_GUARD: Final = 96
"""Bits of the turning factors; a step loses less than one unit of them, 2^20 steps less than 2^-70."""


def round_half_up(value: Decimal) -> int:
    """The nearest integer, the greater of two."""
    return int(_EXACT.add(value, Decimal("0.5")).to_integral_value(ROUND_FLOOR))


@cache
def attention_weights() -> NDArray[np.int8]:
    """round(127 * 2^(-z/256)) for z = 0..2047; the last is 0."""
    ln2 = _EXACT.ln(Decimal(2))
    steps = (_EXACT.divide(_EXACT.multiply(ln2, Decimal(-z)), Decimal(256)) for z in range(WEIGHT_STEPS))
    entries = [round_half_up(_EXACT.multiply(Decimal(127), _EXACT.exp(step))) for step in steps]
    table = np.array(entries, np.int8)
    table.setflags(write=False)
    return table


@cache
def powers_of_two() -> NDArray[np.int64]:
    """round(2^30 * 2^(-z/256)) for z = 0..255."""
    ln2 = _EXACT.ln(Decimal(2))
    steps = (_EXACT.divide(_EXACT.multiply(ln2, Decimal(-z)), Decimal(256)) for z in range(256))
    entries = [round_half_up(_EXACT.multiply(Decimal(1 << 30), _EXACT.exp(step))) for step in steps]
    table = np.array(entries, np.int64)
    table.setflags(write=False)
    return table


def silu_table(numerator: int, denominator: int, units: int) -> bytes:
    """Values of x * sigmoid(x) for x = v * numerator / denominator, v = -128..127: int16, little endian.

    Args:
        numerator: positive.
        denominator: positive.
        units: an entry of this size stands for 1; entries are held within int16.
    """

    def entry(v: int) -> int:
        x = _EXACT.divide(Decimal(v * numerator), Decimal(denominator))
        value = _EXACT.divide(x, _EXACT.add(Decimal(1), _EXACT.exp(_EXACT.minus(x))))
        return min(max(round_half_up(_EXACT.multiply(value, Decimal(units))), -32768), 32767)

    return np.array([entry(v) for v in range(-128, 128)], "<i2").tobytes()


def rotary_table(
    positions: int, head_dim: int, base: int, *, scaling: RotaryScaling | None = None
) -> NDArray[np.int16]:
    """Cosines and sines of position * base^(-2i/head_dim), or of what scaling makes of it, in units of 2^-14.

    Each frequency's turn of one position is computed to 96 bits; positions follow by exact complex
    multiplication of integers, each product rounded down to 96 bits. That recurrence is the definition.

    Args:
        positions: rows.
        head_dim: even; columns 0..head_dim/2-1 hold cosines, the others sines.
        base: of the frequencies, 10,000 in the original.
        scaling: of the frequencies; None for none.
    """
    middle = head_dim >> 1
    table = np.empty((positions, head_dim), "<i2")
    for i in range(middle):
        frequency = rotary_frequency(2 * i, head_dim, base, scaling=scaling)
        # A column at a time: 2^17 rows, the most of a model, are a gigabyte as Python's own numbers.
        table[:, i::middle] = _turns(positions, frequency)
    return table


def rotary_frequency(
    numerator: int, denominator: int, base: int, *, scaling: RotaryScaling | None
) -> Decimal:
    """Radians a position, 0..1: base^(-numerator/denominator), scaled."""
    exponent = _EXACT.divide(Decimal(-numerator), Decimal(denominator))
    frequency = _EXACT.exp(_EXACT.multiply(_EXACT.ln(Decimal(base)), exponent))
    return frequency if scaling is None else scaling.scaled(frequency)


def _turns(positions: int, angle: Decimal) -> list[tuple[int, int]]:
    step_cos, step_sin = _series(angle, first=0), _series(angle, first=1)
    cos, sin = 1 << _GUARD, 0
    out = []
    for _ in range(positions):
        out.append((_narrow(cos), _narrow(sin)))
        cos, sin = (
            (cos * step_cos - sin * step_sin) >> _GUARD,
            (cos * step_sin + sin * step_cos) >> _GUARD,
        )
    return out


def _series(angle: Decimal, *, first: int) -> int:
    """The cosine (first = 0) or sine (first = 1) of an angle from 0 to 1, by its power series, in 2^-96."""
    term = angle if first else Decimal(1)
    total = term
    square = _EXACT.multiply(angle, angle)
    for n in range(first + 1, 64, 2):
        term = _EXACT.divide(_EXACT.multiply(term, _EXACT.minus(square)), Decimal(n * (n + 1)))
        total = _EXACT.add(total, term)
    return round_half_up(_EXACT.multiply(total, Decimal(1 << _GUARD)))


def _narrow(value: int) -> int:
    shift = _GUARD - TURN_BITS
    return (value + (1 << (shift - 1))) >> shift
