"""Hashing beside the work: the same commits as hashing after it, and nothing hashed twice."""

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pouw.backends.backend import Backend, BackendError
from pouw.backends.known_rows import SMALL, check_rows
from pouw.backends.reference import ReferenceBackend
from pouw.proofs import sealing
from pouw.proofs.commitment import CommitBuilder, CommitFull
from pouw.proofs.sealing import Sealer, seal
from pouw.proofs.verifier import Statement, check_proof
from pouw.tensors import Array, TensorSpec
from pouw.trace import Outputs, run_program, trace_bytes
from pouw.training.checkpoint import advance, kept_roots
from pouw.training.mlp_training import constants
from pouw.trees.rows import HostNodes, Levels, RowLeaves, RowTree, Tree, hash_one_by_one
from pouw.weights import Weights
from tests.pouw.training_world import START, TRAINING, step_unit
from tests.pouw.world import CHAIN, MINER, REFERENCE, SEED, WEIGHTS, commons_job, paid_job, usual_case

JOBS = [paid_job(0), commons_job(0), commons_job(1, batch=9)]


@pytest.fixture(params=[1, 1 << 16])
def handed_over(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Small tensors go to the other thread too, or none of these tests' do."""
    monkeypatch.setattr(sealing, "HANDED_OVER_BYTES", request.param)
    size: int = request.param
    return size


class Placed(ReferenceBackend):
    """Hashes tensors where they lie, as devices do: with the host's trees, which it may spoil.

    Args:
        spoilt: the number of the tree that comes out wrong, if any.
    """

    def __init__(self, spoilt: int | None = None) -> None:
        self.made = 0
        self._spoilt = spoilt

    @property
    def rows(self) -> Any:
        return self

    def tree(self, key: bytes, spec: TensorSpec, tensor: Array) -> Tree:
        wrong, self.made = self.made == self._spoilt, self.made + 1

        def hasher(_: bytes, spec: TensorSpec, data: NDArray[np.uint8]) -> Levels:
            return hash_one_by_one(key, spec, data ^ 1 if wrong else data)

        return RowTree(bytes(32), 0, spec=spec, array=tensor, hasher=hasher)

    def leaves(self, key: bytes, spec: TensorSpec, tensor: Array) -> RowLeaves:
        return RowLeaves(key, spec, tensor)

    def shared(self, members: Sequence[RowLeaves], *, parts: Sequence[int], lines: int) -> HostNodes:
        return sealing._joined_here(members, parts=parts, lines=lines)


@pytest.mark.parametrize("rerun", [False, True])
@pytest.mark.parametrize("device", [REFERENCE, Placed()])
def test_work_gives_the_commit_and_the_proof_of_a_run_that_is_added(
    handed_over: int, device: Backend, rerun: bool
) -> None:
    added, worked = CommitBuilder(CHAIN, MINER), CommitBuilder(CHAIN, MINER)
    for job in JOBS:
        trace = job.run()
        added.add(job.item_id, job.program, trace, answered=job.answered)
        again = worked.work(
            job.item_id, job.program, WEIGHTS, job.inputs, device, answered=job.answered, rerun=rerun
        )
        assert all(np.array_equal(a, b) for a, b in zip(trace.tensors, again.tensors, strict=True))
    assert (worked.root, worked.units) == (added.root, added.units)
    proof = worked.prove(SEED, 64)
    assert proof == added.prove(SEED, 64)
    statement = Statement(CHAIN, MINER, [job.work() for job in JOBS], worked.root, worked.units)
    check_proof(statement, proof, seed=SEED, samples=64)


def test_trees_that_tensors_share_are_made_where_these_lie(handed_over: int) -> None:
    """A step of training: bundles, kept tensors, and what the next checkpoint takes over."""
    unit, device = step_unit(START, 0), Placed()
    assert any(len(bundle.tensors) > 1 for bundle in unit.program.bundles.all)
    commits = []
    for backend in (REFERENCE, device):
        builder = CommitBuilder(CHAIN, MINER)
        trace = builder.work(unit.item_id, unit.program, START.weights, unit.inputs, backend)
        commits.append((builder.root, builder.prove(SEED, 64), kept_roots(unit.program, trace)))
    assert commits[0] == commits[1]


def test_a_device_that_hashes_is_asked_for_no_tensor() -> None:
    """Until somebody reads one; and that one once."""
    fetched: list[int] = []

    class Noting(Placed):
        def get(self, tensor: Any) -> Array:
            fetched.append(id(tensor))
            return super().get(tensor)

    job, device = commons_job(0), Noting()
    trace = CommitBuilder(CHAIN, MINER).work(job.item_id, job.program, WEIGHTS, job.inputs, device)
    assert (device.made, fetched) == (len(job.program.tensors), [])
    assert trace.answer is trace.answer
    assert len(fetched) == 1
    assert [tensor.shape for tensor in trace.tensors[1:3]] == [(4, 24), (4, 16)]


def test_an_item_that_is_run_again_is_hashed_by_the_device_again() -> None:
    """And what differs then is this machine's fault."""
    job = commons_job(0)
    count = len(job.program.tensors)
    for spoilt in (None, count + 2):
        builder, device = CommitBuilder(CHAIN, MINER), Placed(spoilt)
        builder.work(job.item_id, job.program, WEIGHTS, job.inputs, device, rerun=True)
        with pytest.raises(BackendError, match="was run again") if spoilt else nullcontext():
            builder.prove(SEED, 64)
        assert device.made == 2 * count


def test_a_device_that_hashes_wrongly_is_found_out() -> None:
    check_rows(Placed(), SMALL)
    with pytest.raises(BackendError, match=r"hashes wrongly on this machine: TensorSpec\(rows=5, cols=24"):
        check_rows(Placed(4), SMALL)


def test_a_tensor_is_fetched_when_the_device_has_the_next_op_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    job, seen = commons_job(0), list[str]()

    class Noting(ReferenceBackend):
        def get(self, tensor: Any) -> Array:
            seen.append("get")
            return super().get(tensor)

    for kind in {type(step.op.kind) for step in job.program.steps}:

        def run(self: Any, backend: Any, operands: Any, plain: Any = kind.run) -> Any:
            seen.append("op")
            return plain(self, backend, operands)

        monkeypatch.setattr(kind, "run", run)
    sealer = Sealer(bytes(32), job.program, None)
    run_program(job.program, WEIGHTS, job.inputs, Noting(), take=sealer.take)
    sealer.finish()
    count = len(job.program.steps)
    assert seen == ["op", *["op", "get"] * (count - 1), "get"]


def test_what_does_not_fit_is_not_run() -> None:
    job = commons_job(0)
    builder = CommitBuilder(CHAIN, MINER, held_bytes=100)
    with pytest.raises(CommitFull, match=r"a trace of 580 bytes, room is left for 100"):
        builder.work(job.item_id, job.program, WEIGHTS, job.inputs, REFERENCE)
    builder.work(job.item_id, job.program, WEIGHTS, job.inputs, REFERENCE, rerun=True)
    with pytest.raises(ValueError, match="is here already"):
        builder.work(job.item_id, job.program, WEIGHTS, job.inputs, REFERENCE, rerun=True)
    assert len(builder) == 1


def test_large_traces_keep_their_trees_while_there_is_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """And open the same cells with them as without."""
    case = usual_case()
    monkeypatch.setattr("pouw.proofs.commitment.LARGE_TRACE", 1)
    for held_bytes in (1 << 20, sum(trace_bytes(job.program) for job in case.jobs)):
        builder = CommitBuilder(CHAIN, MINER, held_bytes=held_bytes)
        for job in case.jobs:
            builder.add(job.item_id, job.program, job.run(), answered=job.answered)
        assert len(builder._sealed) == (len(case.jobs) if held_bytes == 1 << 20 else 0)
        assert builder.root == case.builder.root
        assert builder.prove(SEED, 64) == case.prove()


def test_kept_tensors_are_hashed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the commit, by the next checkpoint, or by whoever looks at their roots: whoever comes first."""
    made: list[object] = []

    def counted(self: RowTree, *args: object, **options: object) -> None:
        made.append(args)
        original(self, *args, **options)  # type: ignore[arg-type]

    original = RowTree.__init__
    monkeypatch.setattr(RowTree, "__init__", counted)
    unit = step_unit(START, 0)
    count = sum(len(bundle.tensors) == 1 for bundle in unit.program.bundles.all)
    for commit_first in (True, False):
        trace = run_program(unit.program, START.weights, unit.inputs, REFERENCE)
        made.clear()
        builder = CommitBuilder(CHAIN, MINER)
        if commit_first:
            builder.add(bytes(32), unit.program, trace, answered=True)
        after = advance(START.checkpoint, unit.program, trace, constants=constants(TRAINING))
        if not commit_first:
            builder.add(bytes(32), unit.program, trace, answered=True)
        roots = kept_roots(unit.program, trace)
        assert len(made) == count
        assert roots == tuple(tensor.root for tensor in after.checkpoint.tensors)
        for tensor in after.checkpoint.tensors:
            fresh = Weights({tensor.name: after.weights.array(tensor.name)}).tree(tensor.name)
            assert fresh.root == after.weights.tree(tensor.name).root == tensor.root
            assert fresh.read(range(64)) == after.weights.tree(tensor.name).read(range(64))


def outputs_of(tensors: Sequence[Array]) -> Outputs:
    outputs = Outputs(REFERENCE)
    for tensor in tensors:
        outputs.add(tensor)
    return outputs


def test_tensors_are_taken_in_order_and_all_of_them() -> None:
    job = commons_job(0)
    outputs = outputs_of(job.run().tensors)
    sealer = Sealer(bytes(32), job.program, None)
    sealer.take(0, outputs)
    with pytest.raises(AssertionError, match="tensor 2 after 1"):
        sealer.take(2, outputs)
    with pytest.raises(AssertionError, match="4 tensors were never taken"):
        sealer.finish()


def test_a_fault_of_the_other_thread_is_a_fault_of_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealing, "HANDED_OVER_BYTES", 1)
    job = commons_job(0)
    sealer = Sealer(bytes(32), job.program, None)
    wrong = (t[:, :1] if number == 2 else t for number, t in enumerate(job.run().tensors))
    outputs = outputs_of(tuple(wrong))
    for number in range(len(outputs)):
        sealer.take(number, outputs)
    with pytest.raises(AssertionError, match="is not TensorSpec"):
        sealer.finish()


def test_a_tree_over_an_equal_array_opens_that_array() -> None:
    job = commons_job(0)
    sealed = seal(bytes(32), job.program, job.run())
    copy: Array = job.inputs.copy()
    before = sealed.rows[0]
    assert isinstance(before, RowTree)
    tree = before.over(copy)
    assert (tree.root, tree.read(range(64, 128)), tree.nodes.path([1])) == (
        before.root,
        before.read(range(64, 128)),
        before.nodes.path([1]),
    )
    spec = job.program.tensors[0]
    assert tree.nodes.size == sealed.trees[0].size == RowTree(bytes(32), 0, spec=spec, array=copy).nodes.size
    assert hash_one_by_one(bytes(32), spec, copy.reshape(-1).view(np.uint8))
