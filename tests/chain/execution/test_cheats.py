"""What a cheat tries and what it costs: a reason of its own, no reward, the bond; and the chain goes on."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from chain.codec import decode_fields, encode_fields
from chain.execution import queries, state_keys
from chain.execution.records import MinerStatus, TaskStatus
from chain.execution.training import round_of
from chain.reasons import Reason
from chain.types.transaction import ProveWork
from pouw.backends.reference import ReferenceBackend
from pouw.proofs.proof import Proof
from pouw.trace import Trace, run_program
from pouw.training.mlp_training import error_name, gradient_name, master_weight_name, values_name
from pouw.training.vote_program import BALLOTS, VOTE
from tests.chain.execution.world import COMMONS, PARAMS, UNIT, Shards, Work, World, key

BOND = 2_000
STRICT = replace(PARAMS, samples=64)
"""As many cells as the local testnet draws: what is faked here is faked so much that none is missed."""
UNITS = COMMONS.units(3)


@pytest.fixture
def world() -> World:
    """Bob is about to cheat; Alice works honestly beside him."""
    world = World(params=STRICT)
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


def forged(world: World, make_trace: Callable[[Shards], Trace], *, units: int = 3) -> Work:
    """Bob's work on the right shards by wrong means; he votes as his trace says."""
    shards = world.shards("bob", units, round_of(world.height + 1, params=world.params))
    return Work.done("bob", chain_id=world.params.chain_id, shards=shards, trace=make_trace(shards))


def changed(shards: Shards, name: str, change: Callable[[np.ndarray], np.ndarray]) -> Trace:
    """A trace that is wrong in one tensor and honest in all that follows from it."""
    program, weights = shards.program, shards.weights
    backend, tensors = ReferenceBackend(), [shards.inputs]
    for step in program.steps:
        operands = [
            weights.array(program.weights[source.index].name) if source.weight else tensors[source.index]
            for source in step.sources
        ]
        made = step.op.kind.run(backend, operands)
        tensors.append(change(made).astype(made.dtype) if step.op.name == name else made)
    return Trace(weights, tuple(tensors))


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

    work = forged(world, lambda shards: changed(shards, values_name(0), lambda tensor: tensor + 1))
    commit_id, at = committed(world, work)
    world.prove(work, commit_id, committed_at=at)
    convicted(world, Reason.PROOF_WRONG_CELL, commit_id=commit_id)


def test_one_byte_of_a_sampled_cell_after_the_commit(world: World):
    work = world.work("bob")
    commit_id, at = committed(world, work)
    proof = work.proof(world.draw_of(at), samples=world.params.samples)
    opened = Proof.from_fields(decode_fields(proof, limit=1 << 20)).items
    first = next(item for item in opened if item.opened.rows)
    rows = first.opened.rows
    flipped = replace(first.opened, rows=bytes([rows[0] ^ 1]) + rows[1:])
    items = tuple(replace(item, opened=flipped) if item is first else item for item in opened)
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


@pytest.mark.parametrize("claim", [4 * UNIT, UNITS + 1, UNITS - 1, 0])
def test_more_units_than_the_work_costs(world: World, claim: int):
    commit_id = world.commit(world.work("bob"), units=claim)
    told = next(e for e in world.receipt.events if e.reason is Reason.MINER_SLASHED)
    assert told.detail == f"{claim} units claimed, the work costs {UNITS}"
    convicted(world, Reason.UNITS_OVERCLAIMED, commit_id=commit_id)


def test_units_inflated_in_the_proof(world: World):
    work = world.work("bob")
    commit_id, at = committed(world, work)
    proof = work.proof(world.draw_of(at), samples=world.params.samples)
    world.do("bob", ProveWork(commit_id, altered(proof, units=4 * UNIT)))
    convicted(world, Reason.PROOF_UNITS_MISMATCH, commit_id=commit_id)


def test_random_matrices_as_inputs(world: World):
    def trace(shards: Shards) -> Trace:
        noise = np.random.default_rng(1).integers(0, 17, shards.inputs.shape, dtype=np.int8)
        return run_program(shards.program, shards.weights, noise, ReferenceBackend())

    work = forged(world, trace)
    commit_id, at = committed(world, work)
    world.prove(work, commit_id, committed_at=at)
    convicted(world, Reason.PROOF_INPUT_MISMATCH, commit_id=commit_id)


def test_false_labels(world: World):
    """The images are the right ones; what they are said to show is not."""

    def trace(shards: Shards) -> Trace:
        inputs = shards.inputs
        inputs[:, 6] = (inputs[:, 6] + 1) % 3
        return run_program(shards.program, shards.weights, inputs, ReferenceBackend())

    work = forged(world, trace)
    commit_id, at = committed(world, work)
    world.prove(work, commit_id, committed_at=at)
    convicted(world, Reason.PROOF_INPUT_MISMATCH, commit_id=commit_id)


def test_a_poisoned_checkpoint(world: World):
    """Another model of the same shape, in place of the one that the ledger holds."""

    def trace(shards: Shards) -> Trace:
        raw = bytes(value ^ 0x15 if place < 24 else value for place, value in enumerate(shards.raw))
        poisoned = COMMONS.voted.weights(raw)
        return run_program(shards.program, poisoned, shards.inputs, ReferenceBackend())

    work = forged(world, trace)
    commit_id, at = committed(world, work)
    world.prove(work, commit_id, committed_at=at)
    convicted(world, Reason.PROOF_WEIGHT_NOT_IN_MODEL, commit_id=commit_id)


def test_the_checkpoint_of_an_old_round(world: World):
    """Work on last round's model, passed off as this one's."""
    world.earn("alice")
    world.until(2 * world.params.round_length)
    old, now = world.shards("bob", 3, 1), world.shards("bob", 3, 2)
    assert now.roots != old.roots

    def trace(shards: Shards) -> Trace:
        return run_program(shards.program, old.weights, shards.inputs, ReferenceBackend())

    work = forged(world, trace)
    commit_id, at = committed(world, work)
    world.prove(work, commit_id, committed_at=at)
    convicted(world, Reason.PROOF_WEIGHT_NOT_IN_MODEL, commit_id=commit_id)


@pytest.mark.parametrize(
    "tensor",
    [
        error_name(1),
        f"{gradient_name(master_weight_name(0))} of shard 1",
        BALLOTS,
        VOTE,
    ],
)
def test_a_wrong_gradient_or_a_vote_that_is_not_its_sign(world: World, tensor: str):
    """All of one tensor has the opposite sign; what follows from it is honest."""
    work = forged(world, lambda shards: changed(shards, tensor, lambda values: -values))
    commit_id, at = committed(world, work)
    world.prove(work, commit_id, committed_at=at)
    convicted(world, Reason.PROOF_WRONG_CELL, commit_id=commit_id)


def test_a_vote_that_is_not_what_was_committed_to(world: World):
    """The trace is honest; the vote on the ledger says the opposite."""
    work = world.work("bob")
    shape = COMMONS.voted.shape
    opposite = shape.pack(-shape.unpack(work.body.vote))
    commit_id, at = committed(world, replace(work, body=replace(work.body, vote=opposite)))
    world.prove(work, commit_id, committed_at=at)
    convicted(world, Reason.PROOF_ANSWER_MISMATCH, commit_id=commit_id)


def test_a_shard_of_another_miner(world: World):
    """Somebody else's data, done in one's own name: whatever it says, it is not Bob's to look at."""
    alices = world.shards("alice", 3, 0)
    work = forged(
        world,
        lambda shards: run_program(shards.program, shards.weights, alices.inputs, ReferenceBackend()),
    )
    commit_id, at = committed(world, work)
    world.prove(work, commit_id, committed_at=at)
    convicted(world, Reason.PROOF_INPUT_MISMATCH, commit_id=commit_id)


def test_the_vote_of_a_cheat_moves_nothing(world: World):
    before = queries.progress(world.state).latest
    work = forged(world, lambda shards: changed(shards, VOTE, lambda values: values * 0 + 1))
    commit_id, at = committed(world, work)
    world.prove(work, commit_id, committed_at=at)
    assert world.miner("bob").status is MinerStatus.SLASHED
    world.until(world.params.round_length)
    assert queries.progress(world.state).latest == before
    assert queries.training_round(world.state, 1).roots == queries.training_round(world.state, 0).roots


def test_random_matrices_as_outputs(world: World):
    def trace(shards: Shards) -> Trace:
        honest = shards.trace()
        chance = np.random.default_rng(2)
        noise = [chance.integers(0, 2, tensor.shape).astype(tensor.dtype) for tensor in honest.tensors[1:]]
        noise[-1] *= COMMONS.voted.shape.used
        return replace(honest, tensors=(honest.tensors[0], *noise))

    work = forged(world, trace)
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
    twin = World(params=STRICT)
    twin.register("alice")
    twin.register("bob", bond=BOND)
    for node in (world, twin):
        work = forged(node, lambda shards: changed(shards, VOTE, lambda values: values * 0))
        commit_id, at = committed(node, work)
        node.prove(work, commit_id, committed_at=at)
        convicted(node, node.receipt.reason, commit_id=commit_id)
    assert [e.state.root for e in world.executions] == [e.state.root for e in twin.executions]
    assert [e.outcome.root for e in world.executions] == [e.outcome.root for e in twin.executions]
