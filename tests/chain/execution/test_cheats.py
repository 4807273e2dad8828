"""What a cheat tries and what it costs: a reason of its own, no reward, the bond; and the chain goes on."""

from dataclasses import replace

import numpy as np
import pytest

from chain.codec import decode_fields, encode_fields
from chain.execution import state_keys
from chain.execution.records import MinerStatus, TaskStatus
from chain.execution.work import CommitItems, CommonsRange, commons_seed
from chain.reasons import Reason
from chain.types.transaction import CommitWork, ProveWork
from pouw.backends.reference import ReferenceBackend
from pouw.commitment import CommitBuilder
from pouw.proof import Proof
from pouw.trace import Trace, run_program
from pouw.weights import Weights
from tests.chain.execution.world import MODELS, OTHER, TINY, UNIT, Work, World, key

BOND = 2_000


@pytest.fixture
def world() -> World:
    """Bob is about to cheat; Alice works honestly beside him."""
    world = World()
    world.register("alice")
    world.register("bob", bond=BOND)
    return world


def convicted(world: World, reason: Reason, *, commit_id: bytes) -> None:
    """The last transaction cost Bob his bond, and Alice goes on working."""
    assert world.receipt.reason is reason
    miner = world.miner("bob")
    assert (miner.status, miner.bond, miner.open_commits) == (MinerStatus.SLASHED, 0, 0)
    told = {event.reason: event for event in world.receipt.events}
    assert told[Reason.MINER_SLASHED].amount == BOND
    assert told[Reason.MINER_SLASHED].other == commit_id
    assert Reason.WORK_REWARDED not in told
    assert world.ledger.find_raw(state_keys.weight(key("bob/consensus").public_key)) is None
    world.earn("alice")


def forged(world: World, name: str, make_trace, *, units: int = 3) -> Work:
    """Work on the right units by wrong means: `make_trace(item) -> Trace`."""
    epoch = world.params.epoch_of(world.height + 1)
    public = key(name).public_key
    seed = commons_seed(world.ledger.get_raw(state_keys.epoch_seed(epoch)), public)
    items = CommitItems([], CommonsRange(seed, 0, units), models=MODELS)
    builder = CommitBuilder(world.params.chain_id.encode(), public)
    for item in items:
        builder.add(item.item_id, item.program, make_trace(item))
    return Work(name, builder, CommitWork(builder.root, builder.units, epoch, 0, units, ()))


def inputs_of_item(item) -> np.ndarray:
    return np.stack([item.input_row(row) for row in range(MODELS.commons_batch)])


def honest_trace(item) -> Trace:
    return run_program(item.program, TINY.weights, inputs_of_item(item), ReferenceBackend())


def committed(world: World, work: Work) -> tuple[bytes, int]:
    commit_id = world.commit(work)
    assert world.receipt.reason is Reason.OK, world.receipt
    at = world.height
    world.until(at + world.params.beacon_delay)
    return commit_id, at


def altered(proof: bytes, **changes) -> bytes:
    return encode_fields(
        replace(Proof.from_fields(decode_fields(proof, limit=1 << 20)), **changes).to_fields()
    )


def test_one_byte_of_a_sampled_cell_before_the_commit(world: World):
    """Every byte of one committed tensor is off by one; the draw finds one of them."""

    def trace(item) -> Trace:
        honest = honest_trace(item)
        hidden = honest.tensors[1] + np.int8(1)
        return replace(honest, tensors=(honest.tensors[0], hidden, *honest.tensors[2:]))

    work = forged(world, "bob", trace)
    commit_id, at = committed(world, work)
    world.prove(work, commit_id, committed_at=at)
    convicted(world, Reason.PROOF_WRONG_CELL, commit_id=commit_id)


def test_one_byte_of_a_sampled_cell_after_the_commit(world: World):
    work = world.work("bob")
    commit_id, at = committed(world, work)
    proof = work.proof(world.draw_of(at), samples=world.params.samples)
    opened = Proof.from_fields(decode_fields(proof, limit=1 << 20)).items
    first = next(item for item in opened if any(leaf.data for leaf in item.leaves))
    leaf = next(leaf for leaf in first.leaves if leaf.data)
    flipped = replace(leaf, data=bytes([leaf.data[0] ^ 1]) + leaf.data[1:])
    leaves = tuple(flipped if entry is leaf else entry for entry in first.leaves)
    items = tuple(replace(item, leaves=leaves) if item is first else item for item in opened)
    world.do("bob", ProveWork(commit_id, altered(proof, items=items)))
    convicted(world, Reason.PROOF_ROW_NOT_COMMITTED, commit_id=commit_id)


def test_another_miners_proof(world: World):
    work = world.work("alice")
    copied = replace(work.body)
    alices = world.sign("alice", work.body)
    bobs = world.sign("bob", copied)
    world.block(alices, bobs)
    at = world.height
    world.until(at + world.params.beacon_delay)
    proof = work.proof(world.draw_of(at), samples=world.params.samples)
    world.block(world.sign("alice", ProveWork(alices.id, proof)))
    assert world.receipt.reason is Reason.OK
    world.do("bob", ProveWork(bobs.id, proof))
    convicted(world, Reason.PROOF_WRONG_MINER, commit_id=bobs.id)


def test_another_miners_proof_under_ones_own_name(world: World):
    work = world.work("alice")
    bobs = world.sign("bob", work.body)
    world.block(bobs)
    at = world.height
    world.until(at + world.params.beacon_delay)
    proof = work.proof(world.draw_of(at), samples=world.params.samples)
    world.do("bob", ProveWork(bobs.id, altered(proof, miner=key("bob").public_key)))
    convicted(world, Reason.PROOF_COMMIT_MISMATCH, commit_id=bobs.id)


def test_an_old_proof_of_ones_own(world: World):
    old = world.work("bob")
    first, at = committed(world, old)
    proof = old.proof(world.draw_of(at), samples=world.params.samples)
    assert world.do("bob", ProveWork(first, proof)).reason is Reason.OK
    second, at = committed(world, replace(old, body=replace(old.body, commons_start=3)))
    world.do("bob", ProveWork(second, proof))
    convicted(world, Reason.PROOF_WRONG_SEED, commit_id=second)


def test_old_work_under_a_new_draw(world: World):
    """The same traces committed again for the next units, and honestly opened: bound to their old items."""
    old = world.work("bob")
    world.earn("bob")
    again = replace(old, body=replace(old.body, commons_start=3))
    commit_id, at = committed(world, again)
    world.prove(again, commit_id, committed_at=at)
    convicted(world, Reason.PROOF_COMMIT_MISMATCH, commit_id=commit_id)


def test_the_very_proof_twice_finds_no_commit(world: World):
    """Nothing is lost but the fee: the commit was proven and is gone."""
    work = world.work("bob")
    commit_id, at = committed(world, work)
    assert world.prove(work, commit_id, committed_at=at).reason is Reason.OK
    assert world.prove(work, commit_id, committed_at=at).reason is Reason.COMMIT_UNKNOWN
    assert world.miner("bob").bond == BOND


@pytest.mark.parametrize("claim", [4 * UNIT, 3 * UNIT + 1, 3 * UNIT - 1, 0])
def test_more_units_than_the_work_costs(world: World, claim: int):
    commit_id = world.commit(world.work("bob"), units=claim)
    told = next(e for e in world.receipt.events if e.reason is Reason.MINER_SLASHED)
    assert told.detail == f"{claim} units claimed, the work costs {3 * UNIT}"
    convicted(world, Reason.UNITS_OVERCLAIMED, commit_id=commit_id)


def test_units_inflated_in_the_proof(world: World):
    work = world.work("bob")
    commit_id, at = committed(world, work)
    proof = work.proof(world.draw_of(at), samples=world.params.samples)
    world.do("bob", ProveWork(commit_id, altered(proof, units=4 * UNIT)))
    convicted(world, Reason.PROOF_UNITS_MISMATCH, commit_id=commit_id)


def test_random_matrices_as_inputs(world: World):
    def trace(item) -> Trace:
        noise = np.random.default_rng(1).integers(0, 17, inputs_of_item(item).shape, dtype=np.int8)
        return run_program(item.program, TINY.weights, noise, ReferenceBackend())

    work = forged(world, "bob", trace)
    commit_id, at = committed(world, work)
    world.prove(work, commit_id, committed_at=at)
    convicted(world, Reason.PROOF_INPUT_MISMATCH, commit_id=commit_id)


def test_random_matrices_as_weights(world: World):
    """Another model of the same shape, as quick to run and worth nothing."""

    def trace(item) -> Trace:
        return run_program(item.program, OTHER.weights, inputs_of_item(item), ReferenceBackend())

    work = forged(world, "bob", trace)
    commit_id, at = committed(world, work)
    world.prove(work, commit_id, committed_at=at)
    convicted(world, Reason.PROOF_WEIGHT_NOT_IN_MODEL, commit_id=commit_id)


def test_random_matrices_as_outputs(world: World):
    def trace(item) -> Trace:
        honest = honest_trace(item)
        chance = np.random.default_rng(2)
        noise = [chance.integers(0, 5, tensor.shape).astype(tensor.dtype) for tensor in honest.tensors[1:]]
        return replace(honest, tensors=(honest.tensors[0], *noise))

    work = forged(world, "bob", trace)
    commit_id, at = committed(world, work)
    world.prove(work, commit_id, committed_at=at)
    convicted(world, Reason.PROOF_WRONG_CELL, commit_id=commit_id)


def test_a_random_root(world: World):
    work = world.work("bob")
    commit_id = world.commit(work, root=bytes(range(32)))
    at = world.height
    world.until(at + world.params.beacon_delay)
    seed = world.draw_of(at)
    world.do("bob", ProveWork(commit_id, work.proof(seed, samples=world.params.samples)))
    # The draw depends on the root, so the openings miss it before the root itself is compared.
    assert world.receipt.reason in {
        Reason.PROOF_CELL_NOT_OPENED, Reason.PROOF_CELL_NOT_DRAWN, Reason.PROOF_WRONG_POSITION,
        Reason.PROOF_COMMIT_MISMATCH,
    }  # fmt: skip
    convicted(world, world.receipt.reason, commit_id=commit_id)


@pytest.mark.parametrize(
    ("proof", "reason"),
    [
        (b"", Reason.PROOF_MALFORMED),
        (b"\xc1", Reason.PROOF_MALFORMED),
        (encode_fields([1, 2, 3]), Reason.PROOF_MALFORMED),
    ],
    ids=["empty", "garbage", "fields"],
)
def test_bytes_that_are_no_proof(world: World, proof: bytes, reason: Reason):
    commit_id, _ = committed(world, world.work("bob"))
    world.do("bob", ProveWork(commit_id, proof))
    convicted(world, reason, commit_id=commit_id)


def test_numbers_that_no_proof_may_hold(world: World):
    work = world.work("bob")
    commit_id, at = committed(world, work)
    proof = work.proof(world.draw_of(at), samples=world.params.samples)
    world.do("bob", ProveWork(commit_id, altered(proof, units=1 << 63)))
    convicted(world, Reason.PROOF_OVERSIZE, commit_id=commit_id)


def test_a_wrong_answer_to_a_customer(world: World):
    """The trace is honest, the answer that the customer was given is not its output."""
    carol = world.register("carol", models=())
    assert carol.reason is Reason.OK
    task_id = world.submit("dave", rows=4)
    world.block()
    name = "bob" if world.task(task_id).miner == key("bob").public_key else "alice"
    work = world.work(name, tasks=[task_id])
    answer = work.body.tasks[0]
    wrong = replace(answer, answer=bytes([answer.answer[0] ^ 1]) + answer.answer[1:])
    commit_id = world.commit(work, tasks=(wrong,))
    at = world.height
    world.until(at + world.params.beacon_delay)
    assert world.prove(work, commit_id, committed_at=at).reason is Reason.PROOF_ANSWER_MISMATCH
    assert world.miner(name).status is MinerStatus.SLASHED
    task = world.task(task_id)
    assert (task.status, task.missed, task.miner) == (TaskStatus.WAITING, (key(name).public_key,), b"")
    assert world.reasons(task_id)[-1] is Reason.TASK_REASSIGNED
    world.block()
    other = "alice" if name == "bob" else "bob"
    assert world.task(task_id).miner == key(other).public_key
    world.earn(other, tasks=[task_id])
    assert world.task(task_id).status is TaskStatus.ANSWERED


def test_every_node_comes_to_the_same_verdict(world: World):
    """Two nodes that execute the same blocks agree on every root, verdicts included."""
    twin = World()
    twin.register("alice")
    twin.register("bob", bond=BOND)
    for node in (world, twin):
        work = forged(node, "bob", lambda item: replace(honest_trace(item), tensors=tuple(
            tensor * 0 for tensor in honest_trace(item).tensors)))  # fmt: skip
        commit_id, at = committed(node, work)
        node.prove(work, commit_id, committed_at=at)
        convicted(node, node.receipt.reason, commit_id=commit_id)
    assert [e.state.root for e in world.executions] == [e.state.root for e in twin.executions]
    assert [e.outcome.root for e in world.executions] == [e.outcome.root for e in twin.executions]


def test_weights_of_another_name_are_refused_by_honest_software():
    """The cheat above had to forge a trace: loading weights checks them against the manifest."""
    with pytest.raises(ValueError, match="has root"):
        Weights(
            {name: OTHER.weights.array(name) for name in ("weight 0", "bias 0", "weight 1", "bias 1")}
        ).check(MODELS.commons_program)
