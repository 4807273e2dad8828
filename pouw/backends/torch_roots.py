"""Reciprocal roots of many sums at once in torch: `transformer_rows.norm_factor`, for a column of them.

Doubles only guess, integers put it right: the guess is off by one at the most, whatever the machine's square
root does with its last bits.
"""

import torch

from pouw.arithmetic.transformer_rows import NORM_BITS


def norm_factors(sums: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """What rows are multiplied with, and shifted by, to be divided by their root mean square.

    Args:
        sums: int64, sums of squares with epsilon, 1..2^62-1.
        count: values of a row.
    """
    lift = (62 - bit_length(sums)) >> 1
    mean = torch.div(sums << 2 * lift, count, rounding_mode="floor")
    turn = (62 - bit_length(mean)) >> 1
    inverse = torch.div(torch.full_like(mean, 1 << 61), _root(mean << 2 * turn), rounding_mode="floor")
    return inverse, 61 - NORM_BITS - lift - turn


def halves(places: torch.Tensor) -> torch.Tensor:
    """What rounding shifts add before they shift by different numbers of places."""
    return torch.bitwise_left_shift(torch.ones_like(places), places) >> 1


def bit_length(x: torch.Tensor) -> torch.Tensor:
    """Of int64 from 1 to 2^62 - 1; a double may have been rounded up to the next power of two."""
    places = torch.frexp(x.to(torch.float64)).exponent.to(torch.int64)
    return places - (torch.bitwise_left_shift(torch.ones_like(x), places - 1) > x).to(torch.int64)


def _root(x: torch.Tensor) -> torch.Tensor:
    """The integer square root of int64 from 2^60 to 2^62 - 1."""
    root = x.to(torch.float64).sqrt_().to(torch.int64)
    root = root - (root * root > x).to(torch.int64)
    return root + ((root + 1) * (root + 1) <= x).to(torch.int64)
