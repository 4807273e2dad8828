"""What must become of a commit, cell by cell, and what the verifier makes of it.

How often a cheat must be found follows from the sampling rule alone: a cell is *bad* if the reference backend
makes something else of what was committed, or if what it reads cannot be opened; a proof is refused exactly
if a draw hits a bad cell. So every single trial has a known end, and the rate a known mean.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pouw.ops.kind import Need
from pouw.program import Program, Source, Step
from pouw.proofs.commitment import CommitBuilder
from pouw.proofs.openings import needs_of, reads_of
from pouw.proofs.proof import Proof, ProofError, ProofReason
from pouw.proofs.sampling import draw_cells, in_order
from pouw.proofs.verifier import Statement, WorkItem, check_proof
from pouw.tensors import Array
from pouw.trace import Run, Trace
from pouw.training.checkpoint import kept_roots
from pouw.weights import Weights
from tests.pouw.chances import all_miss_in_commit, independent_miss
from tests.pouw.world import CHAIN, MINER, REFERENCE

Change = Callable[[Array, Mapping[str, Array]], Array]
"""A tensor, from what its op gives and all tensors before it by name."""


@dataclass(frozen=True)
class Work:
    """One item: what the chain knows of it, and what a miner commits to.

    Args:
        item_id: its name.
        program: what had to be run.
        known: the input that it had to be run on.
        model: the weights that it had to be run with.
        trace: what is committed; its weights are those that are opened.
        claim: "answer", "checkpoint" or "" for a unit that nobody was told of.
        told: the answer that was told, if it is not what was committed.
        told_roots: the same of a checkpoint.
        passed_as: the program that it is committed as, if it is another object.
        unopenable: tensors that are committed in another shape than their own.
    """

    item_id: bytes
    program: Program
    known: Array
    model: Weights
    trace: Trace
    claim: str = "answer"
    told: Array | None = None
    told_roots: tuple[bytes, ...] = ()
    passed_as: Program | None = None
    unopenable: frozenset[int] = frozenset()

    def item(self) -> WorkItem:
        """What the verifier is told."""
        answer: Array | None = None
        kept: tuple[bytes, ...] | None = None
        if self.claim == "answer":
            answer = self.trace.answer if self.told is None else self.told
        elif self.claim:
            kept = self.told_roots or kept_roots(self.program, self.trace)
        return WorkItem(self.item_id, self.program, self.known.__getitem__, answer, kept)


@dataclass(frozen=True)
class Commit:
    """Works under one root, how the miner names itself in it, and what it does to its proofs."""

    works: Sequence[Work]
    miner: bytes = MINER
    alter: Callable[[Proof], Proof] = lambda proof: proof
    order: Callable[[list[WorkItem]], list[WorkItem]] = lambda items: items


class Judged:
    """A commit on the chain, with the cells that convict it.

    Args:
        commit: what a miner made.
        certain: whether it must be refused whatever is drawn; then no cell is looked for.
    """

    def __init__(self, commit: Commit, *, certain: bool) -> None:
        self._commit = commit
        self._certain = certain
        self._builder = CommitBuilder(CHAIN, commit.miner)
        for work in commit.works:
            program = work.passed_as or work.program
            self._builder.add(work.item_id, program, work.trace, answered=bool(work.claim))
        self._placed = in_order(work.program for work in commit.works)
        self._claims = [place for place, work in enumerate(commit.works) if work.claim]
        self._units = sum(work.program.units for work in commit.works)
        items = commit.order([work.item() for work in commit.works])
        self._statement = Statement(CHAIN, MINER, items, self._builder.root, self._units)
        self._bad = [] if certain else [bad_cells(work) for work in commit.works]

    def shares(self) -> tuple[float, float]:
        """The chance that one draw by units, and one by tensors, hits a bad cell."""
        if self._certain:
            return 1.0, 1.0
        units = tensors = 0.0
        for item, bad in zip(self._placed, self._bad, strict=True):
            hit = sum(drawn(step, cells) for step, cells in zip(item.program.steps, bad[1:], strict=True))
            units += hit / self._units
            even = sum(float(cells.mean()) for cells in bad) / len(bad)
            tensors += even * item.program.units / self._units
        return units, tensors

    def chance(self, samples: int) -> float:
        """How likely it is that one of so many draws hits a bad cell."""
        if self._certain:
            return 1.0
        items = [
            (item.program.units / self._units, [1 - float(cells.mean()) for cells in bad])
            for item, bad in zip(self._placed, self._bad, strict=True)
        ]
        units, _ = self.shares()
        by_tensors = samples // 2
        missed = (1 - units) ** (samples - by_tensors) * all_miss_in_commit(items, by_tensors, self._claims)
        assert missed <= (1 - units) ** (samples - by_tensors) * independent_miss(items, by_tensors) + 1e-9
        return max(0.0, 1 - missed)

    def is_hit(self, seed: bytes, samples: int) -> bool:
        """Whether a seed draws a bad cell."""
        if self._certain:
            return True
        cells = draw_cells(
            self._placed, seed=seed, root=self._statement.root, units=self._units, samples=samples,
            claims=self._claims,
        )  # fmt: skip
        return any(self._bad[index][cell.tensor][cell.row, cell.col] for index, cell in cells)

    def verdict(self, seed: bytes, samples: int) -> ProofReason | None:
        """What the verifier says under a seed; the proof goes through its wire form."""
        proof = self._commit.alter(self._builder.prove(seed, samples))
        try:
            proof = Proof.from_fields(proof.to_fields(), max_bytes=1 << 24)
            check_proof(self._statement, proof, seed=seed, samples=samples)
        except ProofError as error:
            return error.reason
        return None


def drawn(step: Step, cells: NDArray[np.bool_]) -> float:
    """How many of an op's units lead to one of these cells."""
    columns = np.arange(step.units_per_row) * cells.shape[1] // step.units_per_row
    return float((cells * np.bincount(columns, minlength=cells.shape[1])).sum())


def bad_cells(work: Work) -> list[NDArray[np.bool_]]:
    """Of each tensor, the cells that convict if they are drawn; found without the verifier's own checks."""
    spec = work.program.tensors[0]
    differs = (work.trace.tensors[0] != work.known).any(axis=1)
    rows = [differs[list(spec.leaf_rows(spec.leaves_of(row)[0]))].any() for row in range(spec.rows)]
    found = [np.repeat(np.array(rows)[:, None], spec.cols, axis=1)]
    false = {w.name for w in work.program.weights if work.trace.weights.tree(w.name).root != w.root}
    tensors = [
        t.reshape(s.rows, s.cols) for t, s in zip(work.trace.tensors, work.program.tensors, strict=True)
    ]
    tensors[0] = work.known
    for number, step in enumerate(work.program.steps, start=1):
        operands = operands_of(work.program, step, work.model, tensors)
        wrong = REFERENCE.get(step.op.kind.run(REFERENCE, operands)) != tensors[number]
        cells = widened(step, wrong, operands, work.known)
        read = {s for s, _ in reads_of(work.program, step, 0, 0, input_row=work.known.__getitem__)}
        broken = any(
            work.program.weights[s.index].name in false if s.weight else s.index in work.unopenable
            for s in read
        )
        found.append(cells | broken | (number in work.unopenable))
    return found


def operands_of(program: Program, step: Step, model: Weights, tensors: Sequence[Array]) -> list[Array]:
    """What an op reads; what is not committed, as it follows from what is."""

    def value(source: Source) -> Array:
        if source.weight:
            return model.array(program.weights[source.index].name)
        return computed(program, source, model, tensors) if source.inline else tensors[source.index]

    return [value(source) for source in step.sources]


def computed(program: Program, source: Source, model: Weights, tensors: Sequence[Array]) -> Array:
    """An output that is not committed."""
    step = program.step_of(source)
    out: Array = REFERENCE.get(step.op.kind.run(REFERENCE, operands_of(program, step, model, tensors)))
    return out


def _needs(step: Step, col: int, known: Array) -> Sequence[Need]:
    return needs_of(step, 0, col, input_row=known.__getitem__)


def widened(
    step: Step, wrong: NDArray[np.bool_], operands: Sequence[Array], known: Array
) -> NDArray[np.bool_]:
    """The cells whose check looks at a wrong value: a check may cover an element, a block or a row."""
    out, col, cols = wrong.copy(), 0, wrong.shape[1]
    while col < cols:
        rows = [part for need in _needs(step, col, known) for part in need.read(operands[need.operand])]
        expected = step.op.kind.check(0, col, rows)
        block = slice(expected.start, expected.start + expected.values.size)
        assert block.start == col, f"{step.op.name} looks from {block.start} on for column {col}"
        out[:, block] = wrong[:, block].any(axis=1, keepdims=True)
        col = block.stop
    return out


def follow(
    program: Program, model: Weights, inputs: Array, changes: Mapping[str, Change] | None = None
) -> tuple[Array, ...]:
    """What is committed of a run in which some tensors are changed, and whatever reads them is honest."""
    named = {"input": inputs}
    run = Run(program, {weight.name: model.array(weight.name) for weight in program.weights}, inputs)
    for output in program.order:
        op = program.step_of(output).op
        out = REFERENCE.get(op.kind.run(REFERENCE, run.operands(output)))
        change = (changes or {}).get(op.name)
        named[op.name] = change(out.copy(), named) if change else out
        run.hold(output, named[op.name])
    return tuple(run.tensors)


def changed(work: Work, changes: Mapping[str, Change]) -> Work:
    """The work with some tensors changed."""
    return replace(work, trace=Trace(work.model, follow(work.program, work.model, work.known, changes)))
