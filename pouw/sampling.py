"""Which cells a commit must open: the chain's randomness, walked down to one element of one tensor.

Every draw falls into an item in proportion to its units, which is what is credited and what the chain can
add up for itself. Within the item, half of the draws fall by units again; the other half evenly over its
tensors, and then over the rows of the one they hit. A step that costs little, a norm or an argmax, spoils an
answer just as well as a large one; and of all ways to spread these draws, the even one leaves whoever fakes a
single tensor the least to choose from. (Neither rows nor tensors are counted across items: their total would
be the miner's word, and a low one would hide some.)
Each draw is a 256-bit hash of its own, reduced modulo the total: the bias is below 2^-190.
"""

from bisect import bisect_right
from dataclasses import dataclass
from typing import Final

from pouw.hashing import domain, framed, keyed, u32
from pouw.program import Program

_DRAW: Final = domain("draw")

MAX_SAMPLES: Final = 1024
"""Draws of one proof; the consensus parameter lies far below."""


@dataclass(frozen=True, slots=True)
class Draw:
    """One draw of a commit.

    Args:
        position: a unit of the commit, below its total.
        by_units: whether the position also gives the cell within its item; else `spare` does, by tensors.
        spare: the rest of the hash.
    """

    position: int
    by_units: bool
    spare: int


@dataclass(frozen=True, slots=True, order=True)
class Cell:
    """One element of one tensor of a run."""

    tensor: int
    row: int
    col: int


def draw_positions(seed: bytes, *, root: bytes, units: int, samples: int) -> list[Draw]:
    """The draws of a commit, by units and by tensors in turn.

    Args:
        seed: randomness that came into being after the root was final.
        root: the commit, which binds chain, miner and items.
        units: its total, at least 1.
        samples: how many.
    """
    draws = []
    for number in range(samples):
        value = int.from_bytes(keyed(_DRAW, framed(seed, root) + u32(number)), "little")
        spare, position = divmod(value, units)
        draws.append(Draw(position, number % 2 == 0, spare))
    return draws


def cell_of(program: Program, draw: Draw, *, start: int) -> Cell:
    """The cell that a draw hits in an item.

    Args:
        program: the item's.
        draw: one whose position lies in the item.
        start: units of all items before it.
    """
    if draw.by_units:
        offset = draw.position - start
        tensor = bisect_right(program.unit_ends, offset)
        step = program.steps[tensor - 1]
        row, rest = divmod(offset - program.unit_ends[tensor - 1], step.units_per_row)
        return Cell(tensor, row, rest * step.output.spec.cols // step.units_per_row)
    rest, tensor = divmod(draw.spare, len(program.tensors))
    rest, row = divmod(rest, program.tensors[tensor].rows)
    return Cell(tensor, row, rest % program.tensors[tensor].cols)
