"""What a proof must open, derived alike by the miner who makes it and the node that checks it.

A proof says nothing about what it opens that could not be derived, so it has one valid form; it repeats the
places, as a short hash, so that other ones can be told from altered rows.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Final, NamedTuple

from pouw.hashing import domain, keyed, u32, u64
from pouw.ops.cells import cell_at
from pouw.ops.gather import Gather
from pouw.ops.kind import Need
from pouw.program import Program, Source, Step
from pouw.proofs.packing import Run
from pouw.proofs.proof import PLACES_BYTES
from pouw.proofs.sampling import Cell
from pouw.tensors import Array, TensorSpec

_PLACES: Final = domain("places")

Place = tuple[int, int]
"""A tensor's number and a leaf's."""


@dataclass(frozen=True, slots=True)
class ItemPlan:
    """What one item must open.

    Args:
        roots: the bundles of which the root is needed, ascending.
        bare: those of them whose root the proof must tell, since neither opened rows nor a claim need to: the
            input, and where a program has an answer and kept tensors besides, these and the answer.
        leaves: (tensor, leaf) pairs whose rows are given, ascending. Leaves of tensor 0, the input, are
            not sent: the checker derives their rows itself.
        weights: (weight, leaf) pairs of the program's weights, ascending.
    """

    roots: tuple[int, ...]
    bare: tuple[int, ...]
    leaves: tuple[Place, ...]
    weights: tuple[Place, ...]


InputRow = Callable[[int], Array]
"""A row of an item's input; nobody opens it, since everybody knows it."""


def needs_of(step: Step, row: int, col: int, *, input_row: InputRow) -> tuple[Need, ...]:
    """The operand rows that decide the cell (row, col) of a step, those that the input names included."""
    kind = step.op.kind
    needs = kind.needs(row, col)
    if isinstance(kind, Gather):
        return (*needs, kind.follow(int(input_row(needs[0].row)[0])))
    return needs


def reads_of(
    program: Program, step: Step, row: int, col: int, *, input_row: InputRow
) -> Iterator[tuple[Source, Need]]:
    """What is read to compute the cell (row, col) of a step: weights, committed tensors and the input.

    Where the step reads what is not committed, this is what that is made of. A weight that is one value
    throughout is known, and not read.
    """
    for need in needs_of(step, row, col, input_row=input_row):
        source = step.sources[need.operand]
        if source.weight and program.weights[source.index].is_constant:
            continue
        if not source.inline:
            yield source, need
            continue
        inner = program.step_of(source)
        for at in need.rows:
            for cell in cells_over(inner, need):
                yield from reads_of(program, inner, at, cell.start, input_row=input_row)


def cells_over(step: Step, need: Need) -> Iterator[range]:
    """The columns of each cell of a step's output that holds some of what is read of a row."""
    width = step.output.spec.cols
    cols = need.columns(width)
    while cols:
        cell = cell_at(step.op.kind, cols.start, cols=width)
        yield cell
        cols = range(cell.stop, cols.stop)


def _leaves_read(spec: TensorSpec, need: Need) -> range:
    if need.cols is None:
        return spec.leaves_over(need.rows)
    return _leaves_of(spec, need.row, need.columns(spec.cols))


def _leaves_of(spec: TensorSpec, row: int, cols: range) -> range:
    return range(spec.leaf_of(row, cols.start), spec.leaf_of(row, cols.stop - 1) + 1)


def plan_item(program: Program, cells: Sequence[Cell], *, answered: bool, input_row: InputRow) -> ItemPlan:
    """The openings of one item.

    Args:
        program: the item's.
        cells: those that were drawn from it.
        answered: whether an answer is known that must be the last op's output, or roots that the kept tensors
            must have.
        input_row: the item's input.
    """
    leaves: set[Place] = set()
    weights: set[Place] = set()
    roots = {program.last, *program.kept} if answered else set()
    if answered and program.kept:
        # What was learned from is looked at as a whole: a false label shows in few cells and stays for good.
        roots.add(0)
    for cell in cells:
        spec = program.tensors[cell.tensor]
        if cell.tensor == 0:
            leaves.update((0, leaf) for leaf in spec.leaves_of(cell.row))
            continue
        step = program.steps[cell.tensor - 1]
        own = _leaves_of(spec, cell.row, cell_at(step.op.kind, cell.col, cols=spec.cols))
        leaves.update(zip(repeat(cell.tensor), own, strict=False))
        for source, need in reads_of(program, step, cell.row, cell.col, input_row=input_row):
            if source.weight:
                opened = _leaves_read(program.weights[source.index].spec, need)
                weights.update(zip(repeat(source.index), opened, strict=False))
            elif source.index:
                opened = _leaves_read(program.tensors[source.index], need)
                leaves.update(zip(repeat(source.index), opened, strict=False))
            else:
                # Derived rows need no path. The root still tells a false input from a false output.
                roots.add(0)
    roots |= {tensor for tensor, _ in leaves}
    # Of a step of training all kept tensors are told, of anything else that keeps nothing the answer is.
    unsure = set() if program.last in program.kept or not program.kept else {program.last, *program.kept}
    bare = roots & {0, *unsure}
    numbers = program.bundles.numbers
    return ItemPlan(
        roots=tuple(sorted(numbers(roots))),
        bare=tuple(sorted(numbers(bare))),
        leaves=tuple(sorted(leaves)),
        weights=tuple(sorted(weights)),
    )


class Stretch(NamedTuple):
    """Neighbouring leaves of one tensor."""

    tensor: int
    leaves: range

    def bytes_of(self, spec: TensorSpec) -> range:
        """Where they lie in their tensor."""
        first = spec.leaf_bytes(self.leaves[0])
        last = first if len(self.leaves) == 1 else spec.leaf_bytes(self.leaves[-1])
        return range(first.start, last.stop)

    def run_of(self, spec: TensorSpec) -> Run:
        """What they hold."""
        return Run(len(self.bytes_of(spec)) // spec.dtype.size, spec.dtype)


def name_places(opened: Iterable[Stretch]) -> bytes:
    """What a proof says of the places that it opens."""
    named = (u32(tensor) + u64(leaves.start) + u64(leaves.stop) for tensor, leaves in opened)
    return keyed(_PLACES, b"".join(named))[:PLACES_BYTES]


def stretches(places: Iterable[Place]) -> list[Stretch]:
    """Places in ascending order as the fewest stretches."""
    found: list[Stretch] = []
    tensor, first, end = -1, 0, 0
    for place in places:
        if place != (tensor, end):
            if end > first:
                found.append(Stretch(tensor, range(first, end)))
            tensor, first = place
        end = place[1] + 1
    if end > first:
        found.append(Stretch(tensor, range(first, end)))
    return found
