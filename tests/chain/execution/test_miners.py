"""Registering, leaving, being suspended and being slashed."""

from dataclasses import replace

import pytest

from chain.execution import queries
from chain.execution.records import MinerStatus, TaskStatus
from chain.reasons import Reason
from chain.types.transaction import ProveWork, RegisterMiner, Transfer, Unregister
from tests.chain.execution.world import COINS, MODEL, OTHER_MODEL, PARAMS, World, key, possession


def registration(name: str, *, consensus: str | None = None, bond: int = 1_000, models=()) -> RegisterMiner:
    secret = key(consensus or name + "/consensus")
    return RegisterMiner(secret.public_key, possession(key(name), secret), bond, models)


def test_registering_locks_the_bond():
    world = World()
    receipt = world.do("alice", registration("alice"))
    assert receipt.reason is Reason.OK
    assert world.balance("alice") == COINS - 1_000 - receipt.fee
    assert world.miner("alice").status is MinerStatus.ACTIVE
    assert [event.reason for event in receipt.events] == [Reason.MINER_REGISTERED]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (registration("bob", bond=999), Reason.BOND_TOO_LOW),
        (registration("bob", bond=COINS), Reason.INSUFFICIENT_FUNDS),
        (registration("bob", consensus="alice/consensus"), Reason.CONSENSUS_KEY_TAKEN),
        (registration("bob", models=(bytes(32),)), Reason.UNKNOWN_MODEL),
        (
            registration("bob", models=tuple(sorted((MODEL, OTHER_MODEL), reverse=True))),
            Reason.BAD_MODEL_LIST,
        ),
        (registration("bob", models=(MODEL, MODEL)), Reason.BAD_MODEL_LIST),
        (replace(registration("bob"), possession=bytes(64)), Reason.BAD_POSSESSION),
        (replace(registration("bob"), consensus_key=bytes(32)), Reason.BAD_POSSESSION),
        (
            replace(registration("bob"), possession=possession(key("alice"), key("bob/consensus"))),
            Reason.BAD_POSSESSION,
        ),
        (
            replace(
                registration("bob"), possession=possession(key("bob"), key("bob/consensus"), chain_id="x")
            ),
            Reason.BAD_POSSESSION,
        ),
    ],
)
def test_registrations_that_fail(body: RegisterMiner, reason: Reason):
    world = World()
    world.do("alice", registration("alice"))
    assert world.do("bob", body).reason is reason
    assert world.miner("bob") is None


def test_a_miner_registers_once():
    world = World()
    world.do("alice", registration("alice"))
    assert world.do("alice", registration("alice", consensus="other")).reason is Reason.ALREADY_REGISTERED
    assert world.do("alice", registration("alice", bond=0)).reason is Reason.ALREADY_REGISTERED


def test_a_miner_adds_to_its_bond_and_says_anew_what_it_serves():
    world = World()
    world.register("alice", bond=1_000)
    task_id = world.submit("bob")
    world.block()
    commit_id = world.commit(world.work("alice"))
    receipt = world.do("alice", registration("alice", bond=1, models=(OTHER_MODEL,)))
    assert [(event.reason, event.amount) for event in receipt.events] == [(Reason.MINER_REGISTERED, 1_001)]
    miner = world.miner("alice")
    assert (miner.bond, miner.status, miner.open_commits) == (1_001, MinerStatus.ACTIVE, 1)
    assert miner.models == (OTHER_MODEL,)
    # What it has begun it may end.
    assert queries.commit(world.state, commit_id) is not None
    assert world.task(task_id).status is TaskStatus.ASSIGNED
    other = world.submit("bob", salt=1)
    world.block()
    assert world.task(other).status is TaskStatus.WAITING
    too_much = registration("alice", bond=COINS)
    assert world.do("alice", too_much).reason is Reason.INSUFFICIENT_FUNDS


def test_the_bond_comes_back_after_the_unbonding_time():
    world = World()
    world.do("alice", registration("alice"))
    world.do("alice", Unregister())
    due = world.height + PARAMS.unbonding_blocks
    assert world.miner("alice").unbonds_at == due
    assert world.receipt.events[0].amount == due
    before = world.balance("alice")
    world.until(due - 2)
    assert (world.balance("alice"), world.miner("alice").status) == (before, MinerStatus.UNBONDING)
    receipt = world.do("alice", registration("alice"))
    assert receipt.reason is Reason.ALREADY_REGISTERED
    world.block()
    assert world.miner("alice") is None
    assert world.balance("alice") == before - receipt.fee + 1_000
    assert world.reasons(key("alice").public_key)[-1] is Reason.BOND_RETURNED


def test_after_the_bond_is_back_one_may_register_again():
    world = World()
    world.do("alice", registration("alice"))
    world.do("alice", Unregister())
    world.blocks(PARAMS.unbonding_blocks)
    assert world.do("alice", registration("alice", consensus="new")).reason is Reason.OK
    assert world.do("bob", registration("bob", consensus="alice/consensus")).reason is Reason.OK


def test_only_a_miner_can_leave_and_only_once():
    world = World()
    assert world.do("alice", Unregister()).reason is Reason.NOT_A_MINER
    world.do("alice", registration("alice"))
    assert world.do("alice", Unregister()).reason is Reason.OK
    assert world.do("alice", Unregister()).reason is Reason.NOT_A_MINER


def test_leaving_is_no_way_around_a_missing_proof():
    world = World(params=replace(PARAMS, unbonding_blocks=0))
    world.register("alice")
    world.commit(world.work("alice"))
    world.do("alice", Unregister())
    assert world.miner("alice").unbonds_at == world.height + PARAMS.beacon_delay + PARAMS.proof_window + 1
    world.until(world.miner("alice").unbonds_at - 1)
    assert world.miner("alice").bond == 2_000 - PARAMS.missed_proof_penalty
    world.block()
    assert world.miner("alice") is None
    assert [event.amount for event in world.outcome.opening if event.reason is Reason.BOND_RETURNED] == [
        1_900
    ]


def test_who_leaves_may_still_prove_and_is_paid():
    world = World()
    world.register("alice")
    work = world.work("alice")
    commit_id = world.commit(work)
    at = world.height
    world.do("alice", Unregister())
    world.until(at + PARAMS.beacon_delay)
    assert world.prove(work, commit_id, committed_at=at).reason is Reason.OK
    assert world.commit(world.work("alice")) and world.receipt.reason is Reason.NOT_A_MINER


def test_who_leaves_gives_its_tasks_back():
    world = World()
    world.register("bob")
    task_id = world.submit("alice")
    world.block()
    assert world.task(task_id).status is TaskStatus.ASSIGNED
    world.do("bob", Unregister())
    task = world.task(task_id)
    assert (task.status, task.miner, task.attempts) == (TaskStatus.WAITING, b"", 1)
    assert world.reasons(task_id)[-2:] == [Reason.TASK_REASSIGNED, Reason.TASK_NO_MINER]


def test_a_missing_proof_costs_a_penalty():
    world = World()
    world.register("alice", bond=1_100)
    commit_id = world.commit(world.work("alice"))
    last = world.height + PARAMS.beacon_delay + PARAMS.proof_window
    world.until(last)
    assert world.miner("alice").bond == 1_100
    world.block()
    assert world.miner("alice") == replace(
        world.miner("alice"), bond=1_000, status=MinerStatus.ACTIVE, open_commits=0
    )
    assert world.reasons(commit_id) == [Reason.WORK_COMMITTED, Reason.PROOF_MISSING]


def test_too_many_missing_proofs_suspend_until_the_bond_is_topped_up():
    world = World()
    world.register("alice", bond=1_050)
    task_id = world.submit("bob")
    world.block()
    world.commit(world.work("alice", units=0, tasks=[task_id]))
    world.until(world.height + PARAMS.beacon_delay + PARAMS.proof_window + 1)
    miner = world.miner("alice")
    assert (miner.status, miner.bond) == (MinerStatus.SUSPENDED, 950)
    assert Reason.MINER_SUSPENDED in [event.reason for event in world.outcome.opening]
    assert world.task(task_id).status is TaskStatus.WAITING
    assert world.commit(world.work("alice")) and world.receipt.reason is Reason.MINER_SUSPENDED
    assert world.do("alice", registration("alice", bond=49)).reason is Reason.BOND_TOO_LOW
    assert (
        world.do("alice", registration("alice", bond=50, consensus="x")).reason is Reason.ALREADY_REGISTERED
    )
    assert world.do("alice", registration("alice", bond=50, models=(MODEL,))).reason is Reason.OK
    miner = world.miner("alice")
    assert (miner.status, miner.bond) == (MinerStatus.ACTIVE, 1_000)
    world.block()
    assert world.task(task_id).status is TaskStatus.ASSIGNED


def test_a_suspended_miner_may_prove_what_is_open_and_leave():
    world = World()
    world.register("alice", bond=1_000)
    world.commit(world.work("alice"))
    missed_at = world.height + PARAMS.beacon_delay + PARAMS.proof_window + 1
    world.until(missed_at - 3)
    work = world.work("alice")
    commit_id = world.commit(work)
    at = world.height
    world.until(missed_at)
    assert world.miner("alice").status is MinerStatus.SUSPENDED
    world.until(at + PARAMS.beacon_delay)
    assert world.prove(work, commit_id, committed_at=at).reason is Reason.OK
    assert world.do("alice", Unregister()).reason is Reason.OK
    world.blocks(PARAMS.unbonding_blocks)
    assert world.miner("alice") is None


def test_a_penalty_of_the_whole_bond_takes_the_bond():
    world = World(params=replace(PARAMS, missed_proof_penalty=1_000))
    world.register("alice", bond=1_000)
    world.commit(world.work("alice"))
    world.until(world.height + PARAMS.beacon_delay + PARAMS.proof_window + 1)
    assert (world.miner("alice").bond, world.miner("alice").status) == (0, MinerStatus.SUSPENDED)


def slashed_world() -> World:
    world = World()
    world.register("alice")
    world.register("bob")
    world.commit(world.work("alice"), units=1)
    assert world.miner("alice").status is MinerStatus.SLASHED
    return world


def test_a_slashed_miner_is_no_miner_and_may_begin_anew():
    world = slashed_world()
    assert world.do("alice", Unregister()).reason is Reason.NOT_A_MINER
    assert world.commit(world.work("alice")) and world.receipt.reason is Reason.NOT_A_MINER
    assert world.do("alice", registration("alice", bond=1_000)).reason is Reason.OK
    world.earn("alice")


def test_the_consensus_key_of_a_slashed_miner_is_free():
    world = slashed_world()
    assert world.do("carol", registration("carol", consensus="alice/consensus")).reason is Reason.OK


def test_shards_are_not_counted_again_after_a_new_registration():
    world = World(params=replace(PARAMS, round_length=20))
    world.register("alice")
    world.earn("alice", units=3)
    body = world.work("alice").body
    world.commit(world.work("alice"), units=1)
    world.register("alice")
    again = replace(body, commons_start=0)
    world.block(world.sign("alice", again))
    assert world.receipt.reason is Reason.COMMONS_RANGE_USED


def test_slashing_voids_open_commits_and_gives_tasks_back():
    world = World()
    world.register("alice")
    committed, assigned = world.submit("dave"), world.submit("dave", salt=1)
    world.block()
    open_commit = world.commit(world.work("alice", tasks=[committed]))
    false_commit = world.commit(world.work("alice"), units=1)
    assert world.receipt.reason is Reason.UNITS_OVERCLAIMED
    assert world.reasons(open_commit) == [Reason.WORK_COMMITTED, Reason.COMMIT_VOID]
    for task_id in (committed, assigned):
        assert world.task(task_id).status is TaskStatus.WAITING
        assert Reason.TASK_REASSIGNED in world.reasons(task_id)
    assert world.do("alice", ProveWork(open_commit, b"")).reason is Reason.COMMIT_UNKNOWN
    assert world.do("alice", ProveWork(false_commit, b"")).reason is Reason.COMMIT_UNKNOWN


def test_an_unbonding_miner_can_still_be_slashed():
    world = World()
    world.register("alice")
    commit_id = world.commit(world.work("alice"))
    at = world.height
    world.do("alice", Unregister())
    world.until(at + PARAMS.beacon_delay)
    assert world.do("alice", ProveWork(commit_id, b"")).reason is Reason.PROOF_MALFORMED
    assert world.miner("alice").status is MinerStatus.SLASHED
    world.blocks(PARAMS.unbonding_blocks + 2)
    assert Reason.BOND_RETURNED not in world.reasons(key("alice").public_key)


def test_burned_bonds_are_counted():
    world = slashed_world()
    fees = sum(r.fee for e in world.executions for r in e.outcome.receipts)
    assert queries.supply(world.state).burned == fees + 2_000


def test_a_miner_is_an_account_like_any_other():
    world = World()
    world.register("alice")
    assert world.do("alice", Transfer(key("bob").public_key, 5)).reason is Reason.OK
