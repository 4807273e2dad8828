"""Checking a proof, with numpy and BLAKE3 alone and without the model.

    1. header   the proof is for this chain, miner, seed and total
    2. sums     the opened items and the sums beside them tile the commit
    3. draws    every draw falls into an opened item, every opened item was called for
    4. rows     the opened rows lead to roots; so do the input's rows and the answer, which are known
    5. commit   these roots lead to the commit's root
    6. weights  the opened weight rows lead to the model's roots
    7. cells    every drawn cell is what its op makes of the opened rows

Memory and time are bounded by the samples, the claims and the size of the proof, plus one hash per row of a
known answer, plus the rows of the input of an item that keeps tensors, or that is about to be refused and has
at most `check_cells.MAX_TOLD_ROWS` of them. Nothing here draws, reads a clock or depends on the order of a
set.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from pouw.hashing import HASH_BYTES
from pouw.program import Program, Weight
from pouw.proofs.binding import (
    MAX_ITEMS,
    SumNode,
    commit_root,
    item_context,
    item_leaf,
    join_sums,
    join_tensors,
    tensor_place,
)
from pouw.proofs.check_cells import Model, OpenedRun, check_cell
from pouw.proofs.opened_rows import Forest, check_places, split_hashes
from pouw.proofs.openings import ItemPlan, Stretch, plan_item, stretches
from pouw.proofs.proof import TAG_BYTES, OpenedItem, Proof, ProofError, ProofReason
from pouw.proofs.sampling import MAX_SAMPLES, Cell, Placed, UnitNotHeld, draw_cells
from pouw.tensors import Array
from pouw.trees import merkle
from pouw.trees.rows import WEIGHTS, RowTree, tensor_key


@dataclass(frozen=True, slots=True)
class WorkItem:
    """What the chain knows of one piece of work, and the miner does not choose.

    Args:
        item_id: names the task or commons unit on its chain.
        program: what had to be run.
        input_row: a row of what it had to be run on: 1-D, of the program's input type.
        answer: for a paid task, what the customer was given: the program's output; else None.
        kept: for a step of training, the roots that its kept tensors were said to have, in the program's
            order: the checkpoint that it claims to lead to; else None.
    """

    item_id: bytes
    program: Program
    input_row: Callable[[int], Array]
    answer: Array | None = None
    kept: tuple[bytes, ...] | None = None

    @property
    def claims(self) -> bool:
        """Whether something was told of its output, which the commit must then bear out."""
        return self.answer is not None or self.kept is not None


@dataclass(frozen=True, slots=True)
class Statement:
    """What a proof is about.

    Args:
        chain_id: names the chain.
        miner: who claims the work.
        items: the work, in the commit's order; may be made on access, only the opened ones are read.
        root: the commit.
        units: the total that the commit claims.
        answered: ascending indices of the items that have an answer or kept roots. None: look at every item
            to find them.
    """

    chain_id: bytes
    miner: bytes
    items: Sequence[WorkItem]
    root: bytes
    units: int
    answered: Sequence[int] | None = None


@dataclass(slots=True)
class _Opened:
    """An opened item on its way through the steps."""

    item: WorkItem
    opening: OpenedItem
    context: bytes
    start: int = 0
    cells: list[Cell] = field(default_factory=list)
    plan: ItemPlan = field(default_factory=lambda: ItemPlan((), (), (), ()))
    roots: dict[int, bytes] = field(default_factory=dict)
    """Of bundles, as far as they are known."""
    tags: dict[int, bytes] = field(default_factory=dict)
    """Of bundles, the first bytes of the roots that are not given."""
    stretches: list[Stretch] = field(default_factory=list)


def check_units(items: Sequence[WorkItem], units: int) -> None:
    """Compare a claimed total with what the items cost; reads every item.

    Raises:
        ProofError: UNITS_MISMATCH.
    """
    cost = sum(item.program.units for item in items)
    if cost != units:
        raise ProofError(ProofReason.UNITS_MISMATCH, f"{units} units claimed, the items cost {cost}")


def check_proof(statement: Statement, proof: Proof, *, seed: bytes, samples: int) -> None:
    """Check that a commit holds the work it claims, as far as the draws can tell.

    Args:
        statement: what was claimed.
        proof: what was opened.
        seed: randomness that came into being after the commit was final.
        samples: how many cells it draws, 1..1024; each claim draws one besides.

    Raises:
        ProofError: any reason but MALFORMED and OVERSIZE, which reading a proof gives.
    """
    assert 1 <= samples <= MAX_SAMPLES, f"{samples} samples, allowed are 1..{MAX_SAMPLES}"
    _check_header(statement, proof, seed)
    opened = _check_sums(statement, proof, samples=samples)
    _check_draws(statement, proof, opened, samples=samples)
    runs = [_check_rows(entry) for entry in opened]
    _check_commit(statement, proof, opened)
    model = _check_weights(proof, opened)
    for entry, run in zip(opened, runs, strict=True):
        for cell in entry.cells:
            check_cell(run, model, cell)


def _check_header(statement: Statement, proof: Proof, seed: bytes) -> None:
    if proof.chain_id != statement.chain_id:
        raise ProofError(
            ProofReason.WRONG_CHAIN, f"for chain {proof.chain_id.hex()}, this is {statement.chain_id.hex()}"
        )
    if proof.miner != statement.miner:
        raise ProofError(
            ProofReason.WRONG_MINER, f"of miner {proof.miner.hex()}, the commit is of {statement.miner.hex()}"
        )
    if proof.seed != seed:
        raise ProofError(ProofReason.WRONG_SEED, f"for seed {proof.seed.hex()}, drawn was {seed.hex()}")
    if not 1 <= len(statement.items) <= MAX_ITEMS:
        raise ProofError(
            ProofReason.EMPTY_COMMIT, f"{len(statement.items)} items, allowed are 1..{MAX_ITEMS}"
        )
    if proof.units != statement.units:
        raise ProofError(
            ProofReason.UNITS_MISMATCH, f"for {proof.units} units, the commit claims {statement.units}"
        )


def _check_sums(statement: Statement, proof: Proof, *, samples: int) -> list[_Opened]:
    """The opened items, with the units of all items before each."""
    count = len(statement.items)
    indices = [opening.index for opening in proof.items]
    for before, after in zip([-1, *indices], [*indices, count], strict=True):
        if before >= after:
            raise ProofError(ProofReason.ITEM_ORDER, f"item {before} before item {after} of {count}")
    answered = _answered(statement)
    if not indices:
        raise ProofError(ProofReason.CELL_NOT_OPENED, "no item is opened")
    if len(indices) > samples + len(answered):
        raise ProofError(
            ProofReason.CELL_NOT_DRAWN,
            f"{len(indices)} items are opened for {samples} draws and {len(answered)} answers",
        )
    opened = {opening.index: _open(statement, opening, answered) for opening in proof.items}
    if len({entry.item.item_id for entry in opened.values()}) != len(opened):
        raise ProofError(ProofReason.DUPLICATE_ITEM, "two opened items are the same task")
    tiles = _tiles_beside(count, indices, proof)
    tiles += [(index, entry.item.program.units) for index, entry in opened.items()]
    total = 0
    for start, units in sorted(tiles):
        if start in opened:
            opened[start].start = total
        total += units
    if total != proof.units:
        raise ProofError(
            ProofReason.INFLATED_SUMS, f"the commit claims {proof.units} units, its parts add up to {total}"
        )
    return list(opened.values())


def _tiles_beside(count: int, indices: list[int], proof: Proof) -> list[tuple[int, int]]:
    """First item and units of each subtree that no opened item lies in."""
    beside = merkle.siblings(count, indices)
    hashes = len(proof.sum_hashes) // HASH_BYTES
    if not hashes == len(proof.sum_units) == len(beside):
        raise ProofError(
            ProofReason.PATH_LENGTH,
            f"{hashes} hashes and {len(proof.sum_units)} sums beside the opened items, not {len(beside)}",
        )
    tiles = []
    for (level, index), units in zip(beside, proof.sum_units, strict=True):
        items = merkle.span(count, level, index)
        if units < len(items):
            raise ProofError(ProofReason.BAD_SUM, f"{len(items)} items beside carry {units} units")
        tiles.append((items.start, units))
    return tiles


def _answered(statement: Statement) -> frozenset[int]:
    if statement.answered is not None:
        return frozenset(statement.answered)
    return frozenset(i for i, item in enumerate(statement.items) if item.claims)


def _open(statement: Statement, opening: OpenedItem, answered: frozenset[int]) -> _Opened:
    item = statement.items[opening.index]
    assert item.claims == (opening.index in answered), f"item {opening.index}: answered or not?"
    program = item.program
    if item.claims and (program.last in program.kept or not program.kept):
        told = item.kept if program.kept else item.answer
        assert told is not None, f"item {opening.index} was told of something else than its claim"
    context = item_context(statement.chain_id, statement.miner, item_id=item.item_id, program=item.program)
    return _Opened(item, opening, context)


def _check_draws(statement: Statement, proof: Proof, opened: list[_Opened], *, samples: int) -> None:
    """Give each opened item its cells; every item opens exactly what they need."""
    missing = _answered(statement).difference(entry.opening.index for entry in opened)
    if missing:
        raise ProofError(ProofReason.CELL_NOT_OPENED, f"the answer of item {min(missing)} is not opened")
    items = [Placed(entry.item.program, entry.start) for entry in opened]
    claims = [place for place, entry in enumerate(opened) if entry.item.claims]
    try:
        drawn = draw_cells(
            items, seed=proof.seed, root=statement.root, units=proof.units, samples=samples, claims=claims
        )
    except UnitNotHeld as miss:
        raise ProofError(
            ProofReason.CELL_NOT_OPENED, f"unit {miss.unit} was drawn, no opened item holds it"
        ) from None
    for index, cell in drawn:
        opened[index].cells.append(cell)
    for entry in opened:
        where = f"item {entry.opening.index}"
        if not entry.cells:
            raise ProofError(ProofReason.CELL_NOT_DRAWN, f"{where} is opened, nothing in it was drawn")
        entry.plan = plan_item(
            entry.item.program, entry.cells, answered=entry.item.claims, input_row=entry.item.input_row
        )
        entry.stretches = stretches(entry.plan.leaves)
        check_places(entry.opening.opened, entry.stretches, where=where)


def _check_commit(statement: Statement, proof: Proof, opened: list[_Opened]) -> None:
    leaves = []
    for entry in opened:
        count, nodes = len(entry.item.program.bundles.all), split_hashes(entry.opening.root_path)
        roots = [(number, entry.roots[number]) for number in entry.plan.roots]
        top = merkle.fold(count, roots, nodes, join_tensors)
        leaves.append((entry.opening.index, item_leaf(entry.context, top, entry.item.program)))
    sums = zip(split_hashes(proof.sum_hashes), proof.sum_units, strict=True)
    tree = merkle.fold(len(statement.items), leaves, (SumNode(*node) for node in sums), join_sums)
    root = commit_root(statement.chain_id, statement.miner, count=len(statement.items), top=tree)
    if root != statement.root:
        raise ProofError(
            ProofReason.COMMIT_MISMATCH, f"the openings lead to {root.hex()}, not {statement.root.hex()}"
        )


def _split_tags(joined: bytes) -> list[bytes]:
    """Joined tags, apart; one that is missing is empty."""
    return [joined[i : i + TAG_BYTES] for i in range(0, len(joined) or 1, TAG_BYTES)]


def _read_roots(entry: _Opened) -> None:
    """Take the roots that are given in full, of an item bound to what the chain knows of it."""
    plan, opening = entry.plan, entry.opening
    roots, (bound, *tags) = split_hashes(opening.roots), _split_tags(opening.tags)
    beside = len(merkle.siblings(len(entry.item.program.bundles.all), plan.roots))
    got = (len(roots), len(tags), len(opening.root_path) // HASH_BYTES)
    expected = (len(plan.bare), len(plan.roots) - len(plan.bare), beside)
    if got != expected:
        raise ProofError(
            ProofReason.PATH_LENGTH,
            f"item {opening.index} gives {got} roots, tags and roots beside them, expected {expected}",
        )
    if bound != entry.context[:TAG_BYTES]:
        raise ProofError(
            ProofReason.COMMIT_MISMATCH,
            f"item {opening.index} is bound to {bound.hex()}, its context is {entry.context.hex()}",
        )
    entry.roots.update(zip(plan.bare, roots, strict=True))
    entry.tags.update(zip((n for n in plan.roots if n not in entry.roots), tags, strict=True))


def _leads(entry: _Opened, number: int, root: bytes) -> bool:
    """Whether what is opened or known of a bundle leads to the root that the proof has for it."""
    if number not in entry.roots:
        if entry.tags[number] != root[:TAG_BYTES]:
            return False
        entry.roots[number] = root
    return entry.roots[number] == root


def _check_rows(entry: _Opened) -> OpenedRun:
    program, context, index = entry.item.program, entry.context, entry.opening.index
    _read_roots(entry)
    run = OpenedRun(
        f"item {index}",
        program,
        input_row=entry.item.input_row,
        context=context,
        input_root=entry.roots.get(0),
    )
    forest = Forest(
        run.where,
        program.tensors.__getitem__,
        lambda i: tensor_key(*tensor_place(program, context, tensor=i), program.tensors[i]),
        program.bundles,
    )
    known = [stretch for stretch in entry.stretches if stretch.tensor == 0]
    data = forest.rows(entry.stretches[len(known) :], entry.opening.opened)
    data = [*map(run.derived, known), *data]
    for number, root in forest.roots(entry.stretches, data, entry.opening.opened.path).items():
        if not _leads(entry, number, root):
            reason = ProofReason.ROW_NOT_COMMITTED if number else ProofReason.INPUT_MISMATCH
            names = ", ".join(map(program.name_of, program.bundles.all[number].tensors))
            raise ProofError(
                reason, f"rows of {names} in {run.where} lead to {root.hex()}, the proof has another root"
            )
    if entry.item.answer is not None:
        _check_answer(entry, entry.item.answer)
    if entry.item.kept is not None:
        _check_kept(entry, entry.item.kept)
        if not run.input_is_derived():
            raise ProofError(
                ProofReason.INPUT_MISMATCH, f"{run.where} learned from another input than the one prescribed"
            )
    run.hold(entry.stretches, data)
    return run


def _check_answer(entry: _Opened, answer: Array) -> None:
    program = entry.item.program
    spec = program.tensors[program.last]
    if not spec.holds(answer):
        got = f"{answer.dtype} {answer.shape}"
        raise ProofError(
            ProofReason.ANSWER_SHAPE,
            f"item {entry.opening.index} was answered {got}, its program gives {spec}",
        )
    place = tensor_place(program, entry.context, tensor=program.last)
    root = RowTree(*place, spec=spec, array=answer).root
    if not _leads(entry, program.bundles.home[program.last], root):
        raise ProofError(
            ProofReason.ANSWER_MISMATCH,
            f"the answer of item {entry.opening.index} has root {root.hex()}, another is committed",
        )


def _check_kept(entry: _Opened, claimed: tuple[bytes, ...]) -> None:
    program = entry.item.program
    assert len(claimed) == len(program.kept), f"{len(claimed)} roots for {len(program.kept)} kept tensors"
    for tensor, root in zip(program.kept, claimed, strict=True):
        if not _leads(entry, program.bundles.home[tensor], root):
            raise ProofError(
                ProofReason.ANSWER_MISMATCH,
                f"{program.name_of(tensor)} of item {entry.opening.index} was said to have root "
                f"{root.hex()}, another is committed",
            )


def _check_weights(proof: Proof, opened: list[_Opened]) -> Model:
    weights: list[tuple[Weight, int]] = []
    for entry in opened:
        program = entry.item.program
        weights += ((program.weights[index], leaf) for index, leaf in entry.plan.weights)
    model = Model(weights)
    check_places(proof.weights, model.stretches, where="the model")
    forest = Forest("the model", model.spec, lambda i: tensor_key(WEIGHTS, 0, model.spec(i)), model.bundles)
    data = forest.rows(model.stretches, proof.weights)
    for tensor, root in forest.roots(model.stretches, data, proof.weights.path).items():
        if root != model.root(tensor):
            raise ProofError(
                ProofReason.WEIGHT_NOT_IN_MODEL,
                f"rows of weight {tensor} lead to {root.hex()}, the model has {model.root(tensor).hex()}",
            )
    model.hold(data)
    return model
