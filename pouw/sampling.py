"""Which cells a commit must open: the chain's randomness, walked down to one element of one tensor.

Half of the draws fall by units, since units are what is credited; the other half falls evenly over all
committed rows, since a step that costs little, a norm or an argmax, spoils an answer just as well. Each
draw is a 256-bit hash of its own, reduced modulo the total: the bias is below 2^-190.
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
        by_units: whether `position` counts units, else rows.
        position: below the commit's total.
        spare: the rest of the hash, which chooses the column in a draw by rows.
    """

    by_units: bool
    position: int
    spare: int


@dataclass(frozen=True, slots=True, order=True)
class Cell:
    """One element of one tensor of a run."""

    tensor: int
    row: int
    col: int


def draw_positions(seed: bytes, *, root: bytes, units: int, rows: int, samples: int) -> list[Draw]:
    """The draws of a commit, by units and by rows in turn.

    Args:
        seed: randomness that came into being after the root was final.
        root: the commit, which binds chain, miner and items.
        units: its total, at least 1.
        rows: its total, at least 1.
        samples: how many.
    """
    draws = []
    for number in range(samples):
        by_units = number % 2 == 0
        total = units if by_units else rows
        value = int.from_bytes(keyed(_DRAW, framed(seed, root) + u32(number)), "little")
        spare, position = divmod(value, total)
        draws.append(Draw(by_units, position, spare))
    return draws


def cell_of(program: Program, draw: Draw, *, start: int) -> Cell:
    """The cell that a draw hits in an item.

    Args:
        program: the item's.
        draw: one that falls into the item.
        start: units, or rows, of all items before it.
    """
    offset = draw.position - start
    if draw.by_units:
        tensor = bisect_right(program.unit_ends, offset)
        step = program.steps[tensor - 1]
        row, rest = divmod(offset - program.unit_ends[tensor - 1], step.units_per_row)
        return Cell(tensor, row, rest * step.output.spec.cols // step.units_per_row)
    tensor = bisect_right(program.row_ends, offset)
    row = offset - (program.row_ends[tensor - 1] if tensor else 0)
    return Cell(tensor, row, draw.spare % program.tensors[tensor].cols)
