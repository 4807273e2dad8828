"""Softmax and cross-entropy in integers: the tables, the gradient, and the loss for people to read.

Powers and logarithms come from decimal arithmetic, which is the same everywhere, and are looked up. With
logits of scale s (a logit x stands for x / 2^s) and d = max(logits) - x, in 1/1024 by a floor:

    e^-d  =  whole[d >> 10] * part[d & 1023] >> 30          at scale 30; d beyond 16 counts as 16
    p     =  round(e^-d * 2^14 / sum of them)
    gradient of the loss by the logits  =  p - (2^14 where the label is)
"""

from decimal import Decimal, localcontext
from typing import Final

import numpy as np
from numpy.typing import NDArray

PROBABILITY: Final = 14
"""Scale of probabilities: the gradient, from -2^14 to 2^14, fits int16."""

LOGIT: Final = 10
"""Scale at which logits are looked up; the tables have 2^10 steps per unit."""

REACH: Final = 16
"""Logits further than this below the greatest count as if this far: e^-16 is nothing at scale 14."""

POWER: Final = 30
"""Scale of powers of e."""

NATS: Final = 16
"""Scale of losses."""

_MANTISSA: Final = 8
"""Bits by which a probability's logarithm is looked up."""


def _powers(count: int, per_unit: int) -> NDArray[np.int64]:
    with localcontext() as context:
        context.prec = 30
        steps = (-Decimal(i) / per_unit for i in range(count))
        return np.array([int((step.exp() * (1 << POWER)).to_integral_value()) for step in steps], np.int64)


def _logarithms() -> NDArray[np.int64]:
    """-ln(m / 2^_MANTISSA) at scale NATS for m from 2^_MANTISSA to 2^(_MANTISSA + 1) - 1, and ln 2 last."""
    with localcontext() as context:
        context.prec = 30
        half = 1 << _MANTISSA
        ratios = [Decimal(half) / m for m in range(half, 2 * half)] + [Decimal(2)]
        return np.array([int((x.ln() * (1 << NATS)).to_integral_value()) for x in ratios], np.int64)


WHOLE: Final = _powers(REACH, 1)
"""e^-i for i from 0 to REACH - 1, at scale POWER."""

PART: Final = _powers(1 << LOGIT, 1 << LOGIT)
"""e^(-i/1024) for i from 0 to 1023, at scale POWER."""

_LOGARITHMS: Final = _logarithms()


def loss_gradient(
    logits: NDArray[np.signedinteger], labels: NDArray[np.signedinteger], *, scale: int
) -> NDArray[np.int16]:
    """Softmax of each row, less one at its label.

    Args:
        logits: int32 [m,n] at `scale`.
        labels: [m]; one that is no column subtracts nothing.
        scale: at least LOGIT.

    Returns:
        int16 [m,n] at scale PROBABILITY.
    """
    wide = logits.astype(np.int64)
    below = (wide.max(axis=1, keepdims=True) - wide) >> (scale - LOGIT)
    below = np.minimum(below, (REACH << LOGIT) - 1)
    shares = WHOLE[below >> LOGIT] * PART[below & ((1 << LOGIT) - 1)] >> POWER
    total = shares.sum(axis=1, keepdims=True)
    chances = ((shares << PROBABILITY) + (total >> 1)) // total
    hit = labels.astype(np.int64).reshape(-1, 1) == np.arange(logits.shape[1])
    gradient: NDArray[np.int16] = (chances - (hit.astype(np.int64) << PROBABILITY)).astype(np.int16)
    return gradient


def row_losses(gradient: NDArray[np.signedinteger], labels: NDArray[np.signedinteger]) -> NDArray[np.int64]:
    """The cross-entropy of each row, from its gradient.

    Args:
        gradient: from `loss_gradient`, [m,n].
        labels: [m], each a column.

    Returns:
        int64 [m] in nats at scale NATS, exact to 1/256; a probability that rounds to nothing counts as
        2^-15.
    """
    columns = labels.astype(np.int64).reshape(-1, 1)
    chances = np.take_along_axis(gradient.astype(np.int64), columns, axis=1)[:, 0] + (1 << PROBABILITY)
    doubled = np.maximum(2 * chances, 1)
    exponent = np.array([int(x).bit_length() - 1 for x in doubled], np.int64)
    mantissa = (doubled << _MANTISSA) >> exponent
    losses: NDArray[np.int64] = (PROBABILITY + 1 - exponent) * _LOGARITHMS[-1] + _LOGARITHMS[
        mantissa - (1 << _MANTISSA)
    ]
    return losses
