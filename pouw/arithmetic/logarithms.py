"""A table of logarithms, from decimal arithmetic: the same everywhere."""

from decimal import Decimal, localcontext
from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pouw.arithmetic.cross_entropy import NATS

MANTISSA: Final = 11
"""Bits behind the leading one by which a number's logarithm is looked up."""


@cache
def logarithms() -> NDArray[np.int64]:
    """ln((m + 1/2) / 2^MANTISSA) at scale NATS for m from 2^MANTISSA on, 2^MANTISSA of them, then ln 2.

    An entry stands for the middle of its interval, so it is wrong by 2^-12 at most, either way.
    """
    with localcontext() as context:
        context.prec = 30
        whole = 2 << MANTISSA
        ratios = [Decimal(2 * m + 1) / whole for m in range(1 << MANTISSA, whole)] + [Decimal(2)]
        table = np.array([int((x.ln() * (1 << NATS)).to_integral_value()) for x in ratios], np.int64)
    table.setflags(write=False)
    return table
