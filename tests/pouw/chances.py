"""How often draws by tensors miss, worked out from the rule alone; exact in fractions, or quick in floats."""

from collections.abc import Collection, Sequence
from fractions import Fraction
from functools import reduce
from math import comb
from typing import TypeVar

Number = TypeVar("Number", float, Fraction)


def all_miss(passes: Sequence[Number], draws: int) -> Number:
    """The chance that draws into one item all miss.

    Args:
        passes: of each tensor, the chance that a draw from it misses: the share of its cells that are right.
        draws: how many. Whole rounds take every tensor once; what is left takes any choice of so many, each
            as likely as the next, so it misses with the mean of their products: an elementary symmetric
            polynomial over the number of choices.
    """
    rounds, rest = divmod(draws, len(passes))
    one = passes[0] ** 0
    products = [one] + [one * 0] * rest
    for value in passes:
        for size in range(rest, 0, -1):
            products[size] += value * products[size - 1]
    return reduce(lambda a, b: a * b, passes, one) ** rounds * products[rest] / comb(len(passes), rest)


def all_miss_in_commit(
    items: Sequence[tuple[Number, Sequence[Number]]], draws: int, claims: Collection[int] = ()
) -> Number:
    """The same of a whole commit, over every way in which draws can fall into its items.

    Args:
        items: of each, its share of the commit's units, and `passes`.
        draws: how many fall into the commit.
        claims: places of the items that have one more draw of their own.
    """
    one = items[0][0] ** 0
    missed = [one] + [one * 0] * draws  # by how many draws fell into the items so far
    for place, (share, passes) in enumerate(items):
        own = place in claims
        here = [share**count * all_miss(passes, count + own) for count in range(draws + 1)]
        missed = [
            sum((comb(n, count) * here[count] * missed[n - count] for count in range(n + 1)), one * 0)
            for n in range(draws + 1)
        ]
    return missed[draws]


def independent_miss(items: Sequence[tuple[Number, Sequence[Number]]], draws: int) -> Number:
    """What it would be if each draw took any tensor: never less."""
    return sum(share * sum(passes) / len(passes) for share, passes in items) ** draws
