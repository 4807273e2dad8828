"""Commits and the window of their proofs: what an honest miner may run into costs it the fee alone."""

from dataclasses import replace

import pytest

from chain.execution import queries, state_keys
from chain.execution.records import MinerStatus
from chain.reasons import Reason
from chain.types.transaction import ProveWork, TaskAnswer
from tests.chain.execution.world import COMMONS, PARAMS, Work, World, key


@pytest.fixture
def world() -> World:
    world = World()
    world.register("alice", bond=3_000)
    return world


def refused(world: World, reason: Reason, work: Work, **changes) -> None:
    """The commit fails with a reason, and nothing but the fee is lost."""
    before = world.miner("alice")
    world.commit(work, **changes)
    assert world.receipt.reason is reason
    assert world.miner("alice") == before


def test_a_stranger_cannot_commit(world: World):
    world.commit(world.work("bob"))
    assert world.receipt.reason is Reason.NOT_A_MINER


def test_an_empty_commit(world: World):
    refused(world, Reason.EMPTY_COMMIT, world.work("alice"), commons_count=0, vote=b"", units=0)


def test_commons_fields_without_commons_units(world: World):
    task_id = world.submit("bob")
    world.block()
    work = world.work("alice", units=0, tasks=[task_id])
    refused(world, Reason.NOT_COMMONS, work, commons_start=1)
    refused(world, Reason.NOT_COMMONS, work, commons_round=1)
    refused(world, Reason.NOT_COMMONS, work, vote=b"\x00")


def test_too_many_commons_units(world: World):
    work = world.work("alice")
    refused(world, Reason.TOO_MANY_COMMONS_UNITS, work, commons_count=PARAMS.max_commons_units + 1)
    world.commit(world.work("alice", units=PARAMS.max_commons_units))
    assert world.receipt.reason is Reason.OK


def test_commons_ranges_are_contiguous(world: World):
    refused(world, Reason.COMMONS_RANGE_USED, world.work("alice"), commons_start=1)
    world.commit(world.work("alice", units=4))
    assert queries.next_shard(world.state, 0, key("alice").public_key) == 4
    refused(world, Reason.COMMONS_RANGE_USED, world.work("alice"), commons_start=3)
    refused(world, Reason.COMMONS_RANGE_USED, world.work("alice"), commons_start=5)
    world.commit(world.work("alice"))
    assert world.receipt.reason is Reason.OK


def test_shards_of_this_round_and_the_one_before(world: World):
    late = world.work("alice")
    world.until(9)
    early = world.work("alice")
    refused(world, Reason.COMMONS_WRONG_ROUND, world.work("alice", round_number=1), commons_round=2)
    assert world.height == 10
    refused(world, Reason.COMMONS_WRONG_ROUND, late)
    world.commit(early)
    assert world.receipt.reason is Reason.OK
    world.commit(world.work("alice"))
    assert world.receipt.reason is Reason.OK


def test_shards_of_an_old_round_can_be_proven_to_the_end_of_the_window():
    """Rounds of one block: the checkpoint that a proof needs is kept just long enough."""
    world = World(params=replace(PARAMS, round_length=1))
    world.register("alice")
    work = world.work("alice")
    number = work.body.commons_round
    world.block()
    commit_id = world.commit(work)
    at = world.height
    world.until(at + PARAMS.beacon_delay + PARAMS.proof_window - 1)
    assert queries.training_round(world.state, number) is not None
    assert queries.training_round(world.state, number - 1) is None
    assert world.prove(work, commit_id, committed_at=at).reason is Reason.OK
    assert world.reasons(commit_id)[-1] is Reason.VOTE_TOO_OLD


def test_a_vote_that_is_none(world: World):
    work = world.work("alice")
    refused(world, Reason.VOTE_MALFORMED, work, vote=work.body.vote + b"\x00")
    refused(world, Reason.VOTE_MALFORMED, work, vote=b"\xff" * len(work.body.vote))
    refused(world, Reason.VOTE_MALFORMED, work, vote=b"")


def test_open_commits_are_bounded(world: World):
    for _ in range(PARAMS.max_open_commits):
        world.commit(world.work("alice"))
        assert world.receipt.reason is Reason.OK
    refused(world, Reason.TOO_MANY_OPEN_COMMITS, world.work("alice"))


def test_tasks_must_ascend(world: World):
    ids = sorted([world.submit("bob"), world.submit("bob", salt=1)])
    world.block()
    work = world.work("alice", tasks=ids)
    refused(world, Reason.TASKS_NOT_ASCENDING, work, tasks=work.body.tasks[::-1])
    refused(world, Reason.TASKS_NOT_ASCENDING, work, tasks=(work.body.tasks[0],) * 2)


def test_a_task_of_somebody_else(world: World):
    world.register("carol", models=[])
    task_id = world.submit("bob")
    world.block()
    work = world.work("alice", tasks=[task_id])
    world.commit(replace(work, name="carol"))
    assert world.receipt.reason is Reason.TASK_NOT_ASSIGNED
    refused(world, Reason.TASK_NOT_ASSIGNED, work, tasks=(TaskAnswer(bytes(32), b""),))


def test_a_task_that_waits_or_is_committed_already(world: World):
    task_id = world.submit("bob")
    refused_work = world.work("alice", tasks=[task_id])
    world.commit(refused_work)
    # The block of the commit assigned the task in its opening.
    assert world.receipt.reason is Reason.OK
    refused(world, Reason.TASK_NOT_ASSIGNED, world.work("alice", tasks=[task_id]))


def test_a_task_after_its_deadline(world: World):
    world.register("carol")
    task_id = world.submit("bob")
    world.block()
    name = "alice" if world.task(task_id).miner == key("alice").public_key else "carol"
    work = world.work(name, tasks=[task_id])
    world.blocks(PARAMS.task_deadline)
    world.commit(work)
    assert world.receipt.reason is Reason.TASK_NOT_ASSIGNED
    assert world.miner(name).status is MinerStatus.ACTIVE


def test_an_answer_of_another_shape(world: World):
    task_id = world.submit("bob")
    world.block()
    work = world.work("alice", tasks=[task_id])
    answer = work.body.tasks[0]
    refused(world, Reason.ANSWER_WRONG_SHAPE, work, tasks=(replace(answer, answer=answer.answer + b"\x00"),))
    refused(world, Reason.ANSWER_WRONG_SHAPE, work, tasks=(replace(answer, answer=b""),))


def test_a_commit_over_the_largest_sum_is_refused(world: World, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("chain.execution.commits.MAX_SUM", COMMONS.units(2))
    refused(world, Reason.COMMIT_TOO_LARGE, world.work("alice", units=3))
    world.commit(world.work("alice", units=2))
    assert world.receipt.reason is Reason.OK


def test_the_window_of_a_proof(world: World):
    """Not before the drawing beacon is on the chain; and up to `proof_window` blocks after it."""
    work = world.work("alice")
    commit_id = world.commit(work)
    at = world.height
    drawn_at = at + PARAMS.beacon_delay
    while world.height + 1 <= drawn_at:
        assert world.do("alice", ProveWork(commit_id, b"")).reason is Reason.PROOF_TOO_EARLY
    assert world.height == drawn_at
    world.until(drawn_at + PARAMS.proof_window - 1)
    assert world.prove(work, commit_id, committed_at=at).reason is Reason.OK
    assert world.height == drawn_at + PARAMS.proof_window


def test_a_proof_one_block_too_late(world: World):
    work = world.work("alice")
    commit_id = world.commit(work)
    at = world.height
    world.until(at + PARAMS.beacon_delay + PARAMS.proof_window)
    seed = world.draw_of(at)
    world.do("alice", ProveWork(commit_id, work.proof(seed, samples=PARAMS.samples)))
    assert world.receipt.reason is Reason.COMMIT_UNKNOWN
    assert world.reasons(commit_id)[-1] is Reason.PROOF_MISSING


def test_only_its_miner_proves_a_commit(world: World):
    world.register("bob")
    work = world.work("alice")
    commit_id = world.commit(work)
    world.blocks(PARAMS.beacon_delay)
    proof = work.proof(world.draw_of(world.height - PARAMS.beacon_delay), samples=PARAMS.samples)
    assert world.do("bob", ProveWork(commit_id, proof)).reason is Reason.COMMIT_UNKNOWN
    assert world.do("alice", ProveWork(bytes(32), proof)).reason is Reason.COMMIT_UNKNOWN
    assert world.do("alice", ProveWork(commit_id, proof)).reason is Reason.OK


def test_beacons_are_kept_as_long_as_a_proof_may_need_them(world: World):
    world.until(30)
    kept = [height for height in range(31) if queries.beacon(world.state, height) is not None]
    assert kept == list(range(30 - PARAMS.proof_window, 31))


def test_rewards_are_rounded_down():
    for units in (1, 2, 3):
        reward = COMMONS.units(units) * 500_000 // 10**6
        world = World(params=replace(PARAMS, reward_per_million_units=500_000))
        world.register("alice", bond=15_000)
        commit_id = world.earn("alice", units=units)
        event = next(e for e in world.events() if e.reason is Reason.WORK_REWARDED)
        assert (event.subject, event.other, event.amount) == (commit_id, key("alice").public_key, reward)
    world = World(params=replace(PARAMS, reward_per_million_units=999))
    world.register("alice")
    world.earn("alice", units=2)
    assert (
        next(e for e in world.events() if e.reason is Reason.WORK_REWARDED).amount
        == COMMONS.units(2) * 999 // 10**6
        == 1
    )


def test_no_coin_is_minted_beyond_the_largest_supply(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("chain.execution.coins.MAX_SUPPLY", 5_000_100)
    world = World()
    world.register("alice")
    burned = queries.supply(world.state).burned
    world.earn("alice", units=30)
    supply = queries.supply(world.state)
    assert supply.minted <= 100 + supply.burned
    assert supply.burned > burned


def test_tasks_and_commons_in_one_commit(world: World):
    ids = [world.submit("bob", salt=i, rows=2 + i) for i in range(3)]
    world.block()
    commit_id = world.earn("alice", units=4, tasks=ids)
    assert [world.ledger.find_raw(state_keys.task_answer(i)) is not None for i in ids] == [True] * 3
    paid = [e for e in world.events() if e.reason is Reason.TASK_PAID]
    assert sorted(e.subject for e in paid) == sorted(ids)
    assert world.reasons(commit_id)[-2:] == [Reason.WORK_REWARDED, Reason.VOTE_COUNTED]
