"""Which cells a commit must open: the chain's randomness, walked down to one element of one tensor.

Every draw falls into an item in proportion to its units, which is what is credited and what the chain can
add up for itself. Within the item, every other draw falls by units again; the rest evenly over its tensors,
and then over the rows of the one they hit. A step that costs little, a norm or an argmax, spoils an answer
just as well as a large one; and of all ways to spread these draws, the even one leaves whoever fakes a single
tensor the least to choose from. (Neither rows nor tensors are counted across items: their total would be the
miner's word, and a low one would hide some.)

Each item that claims something (an answer, kept tensors) has one more draw by tensors of its own. So a
claim of little work beside much is looked at, too: nobody can hide it by the company it keeps.

Draws by tensors do not repeat: each takes one of the item's n tensors that the round has not had yet, and
after all n a new round begins. So k of them look at min(k, n) tensors, and one faked of up to k is found for
certain.
They never miss more than k independent draws. Let a draw from tensor i miss with q_i, and m be the mean of
all q_i; independent draws all miss with m^k. A part of a round, c draws, misses with the mean of the products
of c of the q_i, which is at most m^c (Maclaurin's inequality); rounds are independent of one another, and so
are items, once it is known how many draws fell into each.

Each draw is a 256-bit hash of its own, reduced modulo the total: the bias is below 2^-190.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Final

from pouw.hashing import domain, framed, keyed, u32
from pouw.program import Program

_DRAW: Final = domain("draw")

MAX_SAMPLES: Final = 1024
"""Draws of one proof besides those of claims; the consensus parameter lies far below."""


class UnitNotHeld(LookupError):  # noqa: N818 - whose fault it is, the caller knows
    """A draw fell on a unit that none of the given items holds.

    Args:
        unit: its number in the commit.
    """

    def __init__(self, unit: int) -> None:
        super().__init__(f"no item holds unit {unit}")
        self.unit = unit


@dataclass(frozen=True, slots=True, order=True)
class Cell:
    """One element of one tensor of a run."""

    tensor: int
    row: int
    col: int


@dataclass(frozen=True, slots=True)
class Placed:
    """An item in its place: what was run, and the units of all items before it."""

    program: Program
    start: int


def in_order(programs: Iterable[Program]) -> list[Placed]:
    """All items of a commit, one after the other."""
    programs = list(programs)
    starts = accumulate((program.units for program in programs), initial=0)
    return [Placed(program, start) for program, start in zip(programs, starts, strict=False)]


def draw_cells(
    items: Sequence[Placed], *, seed: bytes, root: bytes, units: int, samples: int, claims: Sequence[int]
) -> list[tuple[int, Cell]]:
    """What is drawn from a commit: for each draw the item, as its place in `items`, and the cell.

    The order is that of the draws: of the samples the even ones fall by units, the odd ones by tensors; then
    comes one by tensors for each claim.

    Args:
        items: those that may be hit, by their start.
        seed: randomness that came into being after the root was final.
        root: the commit, which binds chain, miner and items.
        units: its total, at least 1.
        samples: how many fall anywhere.
        claims: ascending places in `items` of all of the commit's that claim something.

    Raises:
        UnitNotHeld: if a draw falls on none of the items.
    """
    starts = [item.start for item in items]
    rounds: dict[int, _Round] = defaultdict(_Round)
    drawn = framed(seed, root)
    cells = []
    for number in range(samples):
        spare, position = divmod(_value(drawn, number), units)
        index = bisect_right(starts, position) - 1
        if index < 0 or position - starts[index] >= items[index].program.units:
            raise UnitNotHeld(position)
        program = items[index].program
        if number % 2 == 0:
            cell = _by_units(program, position - starts[index])
        else:
            cell = _by_tensors(program, spare, rounds[index])
        cells.append((index, cell))
    for number, index in enumerate(claims, start=samples):
        cells.append((index, _by_tensors(items[index].program, _value(drawn, number), rounds[index])))
    return cells


def _value(drawn: bytes, number: int) -> int:
    return int.from_bytes(keyed(_DRAW, drawn + u32(number)), "little")


@dataclass(slots=True)
class _Round:
    """Draws without repetition: a shuffle of 0..n-1 that goes only as far as it is asked for (Fisher-Yates).

    Args:
        had: how many numbers this round has given.
        moved: what lies in a place below n - had, where it is not the place's own number.
    """

    had: int = 0
    moved: dict[int, int] = field(default_factory=dict)

    def take(self, n: int, place: int) -> int:
        """The number at a place below n - had, which the last one then fills."""
        last = n - self.had - 1
        taken, self.moved[place] = self.moved.get(place, place), self.moved.get(last, last)
        self.had += 1
        if self.had == n:
            self.had = 0
            self.moved.clear()
        return taken


def _by_units(program: Program, unit: int) -> Cell:
    tensor = bisect_right(program.unit_ends, unit)
    step = program.steps[tensor - 1]
    row, rest = divmod(unit - program.unit_ends[tensor - 1], step.units_per_row)
    return Cell(tensor, row, rest * step.output.spec.cols // step.units_per_row)


def _by_tensors(program: Program, spare: int, so_far: _Round) -> Cell:
    count = len(program.tensors)
    rest, place = divmod(spare, count - so_far.had)
    tensor = so_far.take(count, place)
    rest, row = divmod(rest, program.tensors[tensor].rows)
    return Cell(tensor, row, rest % program.tensors[tensor].cols)
