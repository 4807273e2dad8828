"""What proofs open, taken apart to be changed and put together again as a miner would."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from pouw.proofs.check_cells import Model
from pouw.proofs.openings import ItemPlan, Stretch, name_places, plan_item, stretches
from pouw.proofs.packing import Run, pack, unpack
from pouw.proofs.proof import OpenedRows, Proof
from pouw.proofs.sampling import Cell, draw_cells, in_order
from pouw.proofs.verifier import Statement
from pouw.tensors import TensorSpec


@dataclass(frozen=True)
class Part:
    """A stretch of leaves, its shape, and its bytes; None of the input, which is not sent."""

    stretch: Stretch
    spec: TensorSpec
    data: bytes | None

    @property
    def run(self) -> Run:
        """What its bytes are, however many there are."""
        return Run(len(self.data or b"") // self.spec.dtype.size, self.spec.dtype)


Parts = list[Part]
Reopen = Callable[[Parts], Parts]


def plans(statement: Statement, proof: Proof, samples: int) -> dict[int, ItemPlan]:
    """What each item has to open, if all of them are known."""
    items = in_order(item.program for item in statement.items)
    claims = [index for index, item in enumerate(statement.items) if item.claims]
    cells: dict[int, list[Cell]] = defaultdict(list)
    for index, cell in draw_cells(
        items, seed=proof.seed, root=statement.root, units=statement.units, samples=samples, claims=claims
    ):
        cells[index].append(cell)
    return {
        index: plan_item(item.program, cells[index], answered=item.claims, input_row=item.input_row)
        for index, item in enumerate(statement.items)
        if index in cells
    }


def parts_of(opened: OpenedRows, wanted: Sequence[Stretch], specs: Callable[[int], TensorSpec]) -> Parts:
    """What was opened, with the rows of every stretch that `specs` does not call known."""
    data = unpack([s.run_of(specs(s.tensor)) for s in wanted], opened.widths, opened.rows)
    return [Part(s, specs(s.tensor), raw) for s, raw in zip(wanted, data, strict=True)]


def joined(parts: Parts, path: bytes) -> OpenedRows:
    """The wire form of parts."""
    sent = [part for part in parts if part.data is not None]
    widths, rows = pack([part.run for part in sent], [part.data or b"" for part in sent])
    return OpenedRows(name_places(part.stretch for part in parts), widths, rows, path)


def change_item(statement: Statement, proof: Proof, change: Reopen, *, which: int, samples: int) -> Proof:
    """A proof in which one opened item opens something else."""
    item = proof.items[which]
    specs = statement.items[item.index].program.tensors
    wanted = stretches(plans(statement, proof, samples)[item.index].leaves)
    known = [Part(s, specs[0], None) for s in wanted if s.tensor == 0]
    parts = known + parts_of(item.opened, wanted[len(known) :], specs.__getitem__)
    items = list(proof.items)
    items[which] = replace(item, opened=joined(change(parts), item.opened.path))
    return replace(proof, items=tuple(items))


def change_weights(statement: Statement, proof: Proof, change: Reopen, *, samples: int) -> Proof:
    """A proof that opens other rows of the model."""
    model = Model(
        (statement.items[index].program.weights[number], leaf)
        for index, plan in plans(statement, proof, samples).items()
        for number, leaf in plan.weights
    )
    parts = parts_of(proof.weights, model.stretches, model.spec)
    return replace(proof, weights=joined(change(parts), proof.weights.path))


def first_sent(parts: Parts, change: Callable[[Part], Part]) -> Parts:
    """Reopen the first part that carries rows."""
    at = next(i for i, part in enumerate(parts) if part.data is not None)
    return [*parts[:at], change(parts[at]), *parts[at + 1 :]]


def exchanged(parts: Parts) -> Parts:
    """The rows of two parts of one tensor change places."""
    for i, j in combinations(range(len(parts)), 2):
        a, b = parts[i], parts[j]
        alike = a.stretch.tensor == b.stretch.tensor and a.run == b.run
        if alike and a.data and a.data != b.data:
            parts = list(parts)
            parts[i], parts[j] = replace(a, data=b.data), replace(b, data=a.data)
            return parts
    raise AssertionError("no two rows that could change places")
