"""Rotary frequencies of models that were taught longer texts later: linear scaling, and that of Llama 3.

One formula stands for both. A frequency f turns r = context * f / 2 pi times over the context that the model
was first taught. Where r is at most `low`, f is divided by the factor; where r is at least `high`, it stays;
between, it goes from one to the other as r does. Linear scaling (arXiv 2306.15595, section 2.3) divides every
frequency: a context of 0. Llama 3.1 and later use the rest, with the numbers of their configurations.
"""

from dataclasses import dataclass
from decimal import Context, Decimal
from fractions import Fraction
from typing import Final

_EXACT: Final = Context(prec=50)

_FULL_TURN: Final = _EXACT.multiply(
    Decimal(2), Decimal("3.1415926535897932384626433832795028841971693993751058")
)


@dataclass(frozen=True, slots=True)
class RotaryScaling:
    """How frequencies are changed; the numbers are exact.

    Args:
        factor: at least 1.
        context: tokens that the model was first taught; 0 to divide every frequency.
        low: turns over the context, at most which a frequency is divided whole.
        high: turns from which on it is left alone; above `low`.

    Raises:
        ValueError: a number outside of its bounds.
    """

    factor: Fraction
    context: int = 0
    low: Fraction = Fraction(0)
    high: Fraction = Fraction(1)

    def __post_init__(self) -> None:
        if self.factor < 1 or self.context < 0 or not 0 <= self.low < self.high:
            raise ValueError(
                f"a factor of {self.factor} over {self.context} tokens, {self.low} to {self.high} turns; "
                "due are a factor of 1 or more and 0 <= low < high"
            )

    def scaled(self, frequency: Decimal) -> Decimal:
        """A frequency as the model uses it, to 50 digits.

        Args:
            frequency: radians a position, 0..1.
        """
        turns = _EXACT.divide(_EXACT.multiply(Decimal(self.context), frequency), _FULL_TURN)
        low, high, factor = (_decimal(number) for number in (self.low, self.high, self.factor))
        share = _EXACT.divide(_EXACT.subtract(turns, low), _EXACT.subtract(high, low))
        kept = min(max(share, Decimal(0)), Decimal(1))
        divided = _EXACT.divide(_EXACT.subtract(Decimal(1), kept), factor)
        return _EXACT.multiply(frequency, _EXACT.add(kept, divided))


def _decimal(number: Fraction) -> Decimal:
    return _EXACT.divide(Decimal(number.numerator), Decimal(number.denominator))
