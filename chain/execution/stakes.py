"""What a commit puts at stake: as much of the bond as makes every lie a loss.

The cheapest lie leaves one tensor wrong and saves all the work: a stored trace, given out under the right
input. Draws hit an item in proportion to its units, and then k = samples // 2 of them fall evenly over its
tensors; the others, by units, may all miss what costs nothing. Were the k independent, one wrong tensor in
each of some items F of a commit of U units, items of u units and n tensors, would be found with a chance of

    q = 1 - (1 - t)^k,    t = sum over F of u / (U * n).

Draws by tensors do not repeat, and find a lie no less often than that (`pouw.proofs.sampling`); one item
alone, with min(1, k / n). So the stake is never too low; for one item it is too high by 1 / (e - 1) of the
reward at most, where n = k.

Who leads the height whose beacon draws knows the draw before anybody else, and loses no more than the tips of
a block if it keeps that block to itself: the next leader draws anew. With a share p of the seats a liar is
its own judge that often, as often as it likes, and is found with a chance of

    c = q * (1 - p) / (1 - p * q).

Consensus stands for p below a third, so p = 1/3 is what the stake is made for: c = 2 q / (3 - q).

Whoever sees a bad draw says nothing and is not slashed. So what counts is not what a false proof costs but
what a missing one does: the reward R of the whole commit, and its stake B. A lie in F saves no more than F
earns, R_F, for else the work would not have been worth doing. So it never pays if

    c * (R + B) >= R_F    for every choice of F,    that is    B >= R_F / c - R.

What a lie gains, R_F - c * (R + B), is convex in the pair (R_F, t), as c is concave in t: its second
derivative has the sign of s * (k + 1) - 2 * (k - 1), s = (1 - t)^k, which is never above 0 from k = 3 on.
The pairs of all choices lie within a hull whose corners towards a high reward and a low chance are found by
taking items in the order of what they earn by their chance, the highest first; and a convex function is
largest in a corner. So as many choices are looked at as there are items. A lie in some cells of a tensor,
whatever a cell is, lies on an edge between two corners. For one item alone it comes to

    B >= 3 R * a / (2 (b - a)),    a = (n - 1)^k,    b = n^k.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import lcm
from typing import Final

from chain.execution.models import Commons, Model
from chain.types.params import MIN_SAMPLES, ChainParams

_MILLION: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Item:
    """One item of a commit as a liar sees it."""

    units: int
    """What it costs, at least 1; draws hit it in proportion."""
    tensors: int
    """Of its program, the input included; one wrong one may save all of it."""
    reward: int
    """What it earns, in any unit."""


def least_stake(items: Sequence[Item], *, samples: int) -> int:
    """The smallest stake under which no lie in a commit pays, in the unit of the rewards.

    Args:
        items: All of the commit, at least one.
        samples: Draws of its proof, at least `MIN_SAMPLES`: half of them look at tensors one by one.
    """
    assert items and samples >= MIN_SAMPLES, f"{len(items)} items, {samples} samples"
    draws = samples // 2
    whole = lcm(*(item.tensors for item in items))
    total = whole * sum(item.units for item in items)
    reward = sum(item.reward for item in items)
    everywhere = total**draws
    stake = earned = chance = 0
    for item in sorted(items, key=_temptation, reverse=True):
        earned += item.reward
        chance += item.units * (whole // item.tensors)
        drawn = everywhere - (total - chance) ** draws
        found, judged = 2 * drawn, 3 * everywhere - drawn
        stake = max(stake, -((reward * found - earned * judged) // found))
    return stake


def stake_of(items: Sequence[Item], *, params: ChainParams) -> int:
    """Coins of the bond that a commit puts at stake.

    Args:
        items: All of the commit, from `task_item` and `shards_item`.
        params: The chain's rules.
    """
    return max(params.missed_proof_penalty, -(-least_stake(items, samples=params.samples) // _MILLION))


def task_item(model: Model, *, rows: int, payment: int, params: ChainParams) -> Item:
    """A task in a commit; its reward is in millionths, as it is before the ledger rounds it down."""
    shape = model.shape(rows)
    reward = shape.units * params.reward_per_million_units + payment * _MILLION
    return Item(shape.units, shape.tensors, reward)


def shards_item(shards: int, *, params: ChainParams, commons: Commons) -> Item:
    """The shards in a commit, at least one; their reward is in millionths, too."""
    units = commons.units(shards)
    return Item(units, commons.tensors(shards), units * params.reward_per_million_units)


def _temptation(item: Item) -> Fraction:
    """What an item earns by the chance that a draw hits its one wrong tensor."""
    return Fraction(item.reward * item.tensors, item.units)
