"""The last step of a check: each drawn cell, computed again from the rows that were opened."""

from collections.abc import Callable, Iterable, Sequence
from typing import Final

import numpy as np

from pouw.ops.kind import Need
from pouw.program import Program, Source, Step, Weight
from pouw.proofs.opened_rows import Leaves
from pouw.proofs.openings import Place, Stretch, cells_over, needs_of, reads_of, stretches
from pouw.proofs.proof import ProofError, ProofReason
from pouw.proofs.sampling import Cell
from pouw.tensors import Array, DType, TensorSpec
from pouw.trees.bundles import bundled
from pouw.trees.rows import RowTree

MAX_TOLD_ROWS: Final = 1024
"""Inputs of more rows are not derived only to say why a cell is wrong: it would take a hundred times as long
as the check of an honest proof."""

Identity = tuple[bytes, DType, int, int]


class Model:
    """The opened weight rows of all programs of a proof; equal weights of several programs are opened once.

    Weights are numbered by root, so that miner and checker number them alike.

    Args:
        wanted: weights and the leaves of them that the drawn cells need; duplicates do no harm.
    """

    def __init__(self, wanted: Iterable[tuple[Weight, int]]) -> None:
        leaves: dict[Identity, set[int]] = {}
        for weight, leaf in wanted:
            leaves.setdefault(_identity(weight), set()).add(leaf)
        self._names = sorted(leaves)
        self._numbers = {name: number for number, name in enumerate(self._names)}
        self._specs = [TensorSpec(rows, cols, dtype) for _, dtype, rows, cols in self._names]
        self._held = Leaves(self.spec, (), ())
        places: list[Place] = [
            (number, leaf) for number, name in enumerate(self._names) for leaf in sorted(leaves[name])
        ]
        self.stretches = stretches(places)

        self.bundles = bundled(self._specs, most=1, alone=(), beside=lambda _: ())

    @property
    def count(self) -> int:
        """How many weights are opened."""
        return len(self._names)

    def spec(self, number: int) -> TensorSpec:
        """The shape and type of a weight."""
        return self._specs[number]

    def root(self, number: int) -> bytes:
        """The root that the manifest names for a weight."""
        return self._names[number][0]

    def number(self, weight: Weight) -> int:
        """The number of a weight."""
        return self._numbers[_identity(weight)]

    def hold(self, data: Sequence[bytes]) -> None:
        """Keep the stretches, whose bytes were found to be the model's."""
        self._held = Leaves(self.spec, self.stretches, data)

    def rows(self, weight: Weight, rows: range) -> Array:
        """Neighbouring rows of a weight; their leaves are held."""
        return self._held.rows(self.number(weight), rows)

    def values(self, weight: Weight, row: int, cols: range) -> Array:
        """Neighbouring values of a weight; their leaves are held."""
        return self._held.values(self.number(weight), row, cols)


def _identity(weight: Weight) -> Identity:
    return weight.root, weight.spec.dtype, weight.spec.rows, weight.spec.cols


class OpenedRun:
    """The opened rows of one item, and its input, which the checker derives.

    Args:
        where: names the item in messages.
        program: what was run.
        input_row: see `pouw.proofs.verifier.WorkItem`.
        context: from `pouw.proofs.binding.item_context`.
        input_root: the committed root of the input, if the proof gives it.
    """

    def __init__(
        self,
        where: str,
        program: Program,
        *,
        input_row: Callable[[int], Array],
        context: bytes,
        input_root: bytes | None,
    ) -> None:
        self.where = where
        self.program = program
        self._input_row = input_row
        self._context = context
        self._input_root = input_root
        self._held = Leaves(program.tensors.__getitem__, (), ())
        self.computed: dict[tuple[Source, int, int], Array] = {}
        """Cells of inline ops, by row and first column: several cells may read the same one."""

    def derived(self, stretch: Stretch) -> bytes:
        """What leaves of the input must hold."""
        spec = self.program.tensors[0]
        place = stretch.bytes_of(spec)
        rows = range(place.start // spec.row_bytes, -(-place.stop // spec.row_bytes))
        data = b"".join(self.input_row(row).tobytes() for row in rows)
        start = place.start - rows.start * spec.row_bytes
        return data[start : start + len(place)]

    def hold(self, wanted: Sequence[Stretch], data: Sequence[bytes]) -> None:
        """Keep stretches that were found to be committed."""
        self._held = Leaves(self.program.tensors.__getitem__, wanted, data)

    def rows(self, tensor: int, rows: range) -> Iterable[Array]:
        """Neighbouring rows of the run: derived for the input, else from leaves that are held."""
        if tensor == 0:
            return map(self.input_row, rows)
        return self._held.rows(tensor, rows)

    def input_row(self, row: int) -> Array:
        """A row of the input, derived."""
        spec = self.program.tensors[0]
        known = self._input_row(row)
        assert known.shape == (spec.cols,) and known.dtype == spec.dtype.numpy, (
            f"input row {row} of {self.where} is {known.dtype} {known.shape}, the program reads {spec}"
        )
        return known

    def values(self, tensor: int, row: int, cols: range) -> Array:
        """Neighbouring values of an op's output; their leaves are held."""
        return self._held.values(tensor, row, cols)

    def input_is_derived(self) -> bool:
        """Whether the committed input is, as a whole, the one that it must be. Reads every row of it."""
        spec = self.program.tensors[0]
        whole = np.stack([self.input_row(row) for row in range(spec.rows)])
        return RowTree(self._context, 0, spec=spec, array=whole).root == self._input_root


def check_cell(run: OpenedRun, model: Model, cell: Cell) -> None:
    """Compute a drawn cell again.

    Args:
        run: holds the rows it depends on, and its own.
        model: holds the weight rows it depends on.
        cell: what was drawn; the input's cells are right once their rows are.

    Raises:
        ProofError: WRONG_CELL, or INPUT_MISMATCH if the op reads an input of at most MAX_TOLD_ROWS rows that
            is not the derived one.
    """
    if cell.tensor == 0:
        return
    step = run.program.steps[cell.tensor - 1]
    expected = step.op.kind.check(cell.row, cell.col, _operands(run, model, step, cell.row, cell.col))
    cols = range(expected.start, expected.start + expected.values.size)
    got = run.values(cell.tensor, cell.row, cols)
    if not np.array_equal(got, expected.values):
        raise _fault(run, step, cell, got=got, expected=expected.values)


def _operands(run: OpenedRun, model: Model, step: Step, row: int, col: int) -> list[Array]:
    """What decides a cell: opened, or, where it is not committed, computed from what is."""
    rows: list[Array] = []
    for need in needs_of(step, row, col, input_row=run.input_row):
        rows.extend(_read(run, model, step.sources[need.operand], need))
    return rows


def _read(run: OpenedRun, model: Model, source: Source, need: Need) -> Iterable[Array]:
    if source.inline:
        return [_computed(run, model, source, need, row=row) for row in need.rows]
    if source.weight:
        weight = run.program.weights[source.index]
        if weight.is_constant:
            width = len(need.columns(weight.spec.cols))
            return np.full((need.count, width), weight.low, weight.spec.dtype.numpy)
        if need.cols is None:
            return model.rows(weight, need.rows)
        return [model.values(weight, need.row, need.columns(weight.spec.cols))]
    if need.cols is None:
        return run.rows(source.index, need.rows)
    cols = need.columns(run.program.tensors[source.index].cols)
    if source.index == 0:
        return [run.input_row(need.row)[cols.start : cols.stop]]
    return [run.values(source.index, need.row, cols)]


def _computed(run: OpenedRun, model: Model, source: Source, need: Need, *, row: int) -> Array:
    """What is read of a row of an output that nobody committed to."""
    step = run.program.step_of(source)
    parts, cells = [], list(cells_over(step, need))
    for cell in cells:
        place = source, row, cell.start
        if place not in run.computed:
            operands = _operands(run, model, step, row, cell.start)
            run.computed[place] = step.op.kind.check(row, cell.start, operands).values
        parts.append(run.computed[place])
    cols = need.columns(step.output.spec.cols)
    skipped = cols.start - cells[0].start
    return np.concatenate(parts)[skipped : skipped + len(cols)]


def _fault(run: OpenedRun, step: Step, cell: Cell, *, got: Array, expected: Array) -> ProofError:
    place = f"{step.op.name}[{cell.row},{cell.col}] of {run.where}"
    read = reads_of(run.program, step, cell.row, cell.col, input_row=run.input_row)
    reads_input = any(source.index == 0 and not source.weight for source, _ in read)
    is_short = run.program.tensors[0].rows <= MAX_TOLD_ROWS
    if reads_input and is_short and not run.input_is_derived():
        return ProofError(
            ProofReason.INPUT_MISMATCH, f"{place} was made from another input than the one prescribed"
        )
    first = int(np.flatnonzero(got != expected)[0])
    return ProofError(ProofReason.WRONG_CELL, f"{place} holds {got[first]}, its op gives {expected[first]}")
