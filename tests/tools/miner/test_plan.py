"""What a miner does next, case by case."""

from dataclasses import replace

import pytest

from chain.execution.models import ModelRegistry
from chain.execution.records import MinerStatus
from chain.types.transaction import MAX_TASKS_A_COMMIT
from genesis.commons import commons, commons_model
from genesis.registry import digits_model
from tests.tools.chain_node import PARAMS
from tools.miner.cover import Cover
from tools.miner.plan import (
    Commit,
    CommonsJob,
    InFlight,
    Means,
    Prove,
    Register,
    Rest,
    Stop,
    TrainingRound,
    free_bond,
    next_step,
    wanted_bond,
)
from tools.rpc.messages import AssignedTask, MinerWork, OpenCommit

MODELS = {model.id: model for model in (digits_model(), commons_model(PARAMS.commons_batch))}
COVER = Cover(PARAMS, ModelRegistry(MODELS, commons(PARAMS.commons_batch)))
UNIT = COVER.models.commons.unit
COIN = 10**6
MEANS = Means(resting=False, units_a_commit=20, proof_bytes=5_000)
SEED = bytes([9]) * 32
ACTIVE = MinerWork(
    height=100, round=20, round_seed=SEED, step=18, next_shard=7, base_fee=1, balance=10**9, nonce=3,
    next_nonce=3, status=MinerStatus.ACTIVE, consensus_key=bytes(32), bond=PARAMS.min_bond, tasks=(),
    commits=(), syncing="",
)  # fmt: skip
ROUND = TrainingRound(20, SEED, 18)
STRANGER = replace(ACTIVE, status=None, consensus_key=None, bond=0)


def name(number):
    return bytes([number]) * 32


def task(number, due=110, *, rows=1, payment=COIN):
    return AssignedTask(name(number), digits_model().id, rows, b"", due, payment)


def commit(number, *, beacon=None, due=120, stake=PARAMS.missed_proof_penalty):
    return OpenCommit(name(number), bytes(32), 1, 95, 19, SEED, 17, 0, 1, (), beacon, due, stake)


def flight(kind, **details):
    return InFlight(name(99), 3, kind, b"", **details)


def step(work, in_flight=(), means=MEANS):
    return next_step(work, in_flight, params=PARAMS, means=means, cover=COVER)


def test_a_stranger_registers_with_slack_for_all_that_may_be_open():
    bond = wanted_bond(params=PARAMS, cover=COVER)
    assert bond - PARAMS.max_open_commits * COVER.full == PARAMS.min_bond
    assert step(STRANGER) == Register(bond)
    tight = step(replace(STRANGER, balance=PARAMS.min_bond + 20_000))
    assert isinstance(tight, Register)
    assert PARAMS.min_bond <= tight.bond < PARAMS.min_bond + 20_000


def test_a_stranger_without_coins_or_on_its_way_waits():
    assert "send it coins" in step(replace(STRANGER, balance=PARAMS.min_bond)).why
    assert step(STRANGER, [flight("register")]) == Rest("the registration is on its way")


def test_proofs_come_first_and_the_most_urgent_of_them():
    work = replace(
        ACTIVE, tasks=(task(1),),
        commits=(commit(1), commit(2, beacon=SEED, due=118), commit(3, beacon=SEED, due=117)),
    )  # fmt: skip
    assert step(work) == Prove(work.commits[2], SEED)
    assert step(work, [flight("prove", proves=name(3))]) == Prove(work.commits[1], SEED)


def test_no_proof_is_begun_that_comes_too_late_or_cannot_be_right():
    late = replace(ACTIVE, commits=(commit(1, beacon=SEED, due=100),))
    assert isinstance(step(late), Commit)
    hopeless = replace(ACTIVE, commits=(commit(1, beacon=SEED),))
    assert isinstance(step(hopeless, means=replace(MEANS, hopeless=frozenset({name(1)}))), Commit)


def test_tasks_come_before_the_commons_whatever_the_duty():
    work = replace(ACTIVE, tasks=(task(1), task(2), task(3, due=100)))
    least = PARAMS.missed_proof_penalty
    assert step(work, means=replace(MEANS, resting=True)) == Commit(work.tasks[:2], None, ROUND, least)
    assert step(work, [flight("commit", tasks=(name(1),))]) == Commit((work.tasks[1],), None, ROUND, least)


def test_a_task_that_makes_the_commit_dear_waits_for_the_next_one():
    small, large, plain = task(1, rows=1, payment=20 * COIN), task(2, rows=200), task(3)
    assert COVER.of_tasks([small, large]) > 10 * (COVER.of_tasks([small]) + COVER.of_tasks([large]))
    work = replace(ACTIVE, tasks=(small, large, plain))
    first = step(work)
    assert first.tasks == (small, plain)
    assert first.stake == COVER.of_tasks(first.tasks)
    assert step(work, [flight("commit", tasks=(name(1), name(3)))]).tasks == (large,)


@pytest.mark.parametrize(
    ("proof_bytes", "most"),
    [(5_000, MAX_TASKS_A_COMMIT), (PARAMS.max_transaction_bytes * 4 // 5, PARAMS.samples // 4), (10**9, 1)],
)
def test_a_commit_has_as_many_tasks_as_its_proof_has_room_for(proof_bytes, most):
    tasks = tuple(task(number) for number in range(2 * MAX_TASKS_A_COMMIT))
    work = replace(ACTIVE, tasks=tasks, bond=10**6 * PARAMS.min_bond)
    assert len(step(work, means=replace(MEANS, proof_bytes=proof_bytes)).tasks) == most


def test_a_task_that_finds_too_little_free_is_not_overtaken():
    dear, plain = task(2, 105, rows=4, payment=10_000 * COIN), task(1)
    stake = COVER.of_tasks([dear])
    assert PARAMS.missed_proof_penalty < stake
    work = replace(ACTIVE, bond=stake, tasks=(dear, plain), commits=(commit(1),))
    assert step(work).why.startswith("too little of the bond of ")
    assert "for a task" in step(work).why
    assert step(replace(work, commits=())).tasks == (dear,)


def test_what_is_open_and_what_is_on_its_way_are_not_free():
    work = replace(ACTIVE, bond=100, commits=(commit(1, stake=30), commit(2, stake=20)))
    assert free_bond(work, [flight("commit", stake=15), flight("prove")]) == 35
    assert free_bond(replace(work, bond=20), []) == 0


def test_a_low_bond_is_spread_over_the_commits_that_may_be_open():
    bond, sent = PARAMS.min_bond // 4, []
    while isinstance(found := step(replace(ACTIVE, bond=bond), sent), Commit):
        sent.append(flight("commit", stake=found.stake, commons_round=20, commons_end=7))
        assert 0 < found.commons.count < PARAMS.max_commons_units
        assert found.stake == COVER.of_shards(found.commons.count)
    assert sum(item.stake for item in sent) <= bond
    assert len(sent) == PARAMS.max_open_commits


def test_shards_that_cannot_pay_their_fees_within_the_bond_wait_for_proofs():
    means = replace(MEANS, units_a_commit=1, proof_bytes=14 * UNIT)
    fewest = step(ACTIVE, means=means).commons.count
    stake = COVER.of_shards(fewest)
    assert stake > PARAMS.missed_proof_penalty
    assert step(replace(ACTIVE, bond=stake), means=means).commons.count == fewest
    short = step(replace(ACTIVE, bond=stake - 1), means=means)
    assert f"is free for {fewest} shards, the fewest that earn their fees" in short.why
    assert isinstance(step(replace(ACTIVE, bond=PARAMS.missed_proof_penalty - 1)), Rest)


def test_shards_go_on_where_the_last_range_ends():
    assert step(ACTIVE) == Commit((), CommonsJob(7, 20), ROUND, COVER.full)
    sent = flight("commit", commons_round=20, commons_end=27)
    assert step(ACTIVE, [sent]).commons.start == 27
    older = flight("commit", commons_round=19, commons_end=500)
    assert step(ACTIVE, [older]).commons.start == 7


def test_a_commit_is_as_large_as_it_must_be_to_be_worth_its_fees():
    means = replace(MEANS, units_a_commit=1, proof_bytes=500_000)
    count = step(ACTIVE, means=means).commons.count
    fee = 2000 + 500_000 + PARAMS.samples * PARAMS.cell_weight
    assert (count - 1) * UNIT <= fee < count * UNIT
    assert step(ACTIVE, means=replace(MEANS, units_a_commit=10**6)).commons.count == PARAMS.max_commons_units
    assert "more than" in step(replace(ACTIVE, base_fee=10), means=means).why


@pytest.mark.parametrize(
    ("work", "why"),
    [
        (replace(ACTIVE, syncing="far behind"), "the node is not in step with the chain: far behind"),
        (
            replace(ACTIVE, balance=100),
            "a commit and its proof cost about 0.0078 coins in fees, the account has 0.0001",
        ),
        (
            replace(ACTIVE, commits=tuple(commit(i) for i in range(PARAMS.max_open_commits))),
            f"all {PARAMS.max_open_commits} commits that the chain allows at once await their proof",
        ),
    ],
)
def test_rests_with_a_reason(work, why):
    assert step(work) == Rest(why)


def test_keeps_to_the_duty():
    assert step(ACTIVE, means=replace(MEANS, resting=True)) == Rest("duty")


@pytest.mark.parametrize("status", [MinerStatus.SUSPENDED, MinerStatus.UNBONDING])
def test_winding_up_proves_what_is_open_and_stops(status):
    work = replace(ACTIVE, status=status, commits=(commit(1, beacon=SEED),), tasks=(task(1),))
    assert isinstance(step(work), Prove)
    assert isinstance(step(replace(work, commits=(commit(1),))), Rest)
    assert isinstance(step(replace(work, commits=())), Stop)


def test_a_suspended_miner_is_told_what_is_missing():
    stopped = step(replace(ACTIVE, status=MinerStatus.SUSPENDED, bond=PARAMS.min_bond - 4_500_000))
    assert "`headrace miner bond 4.5`" in stopped.why


def test_a_slashed_miner_stops():
    stopped = step(replace(ACTIVE, status=MinerStatus.SLASHED, bond=0))
    assert isinstance(stopped, Stop)
    assert stopped.why.startswith("slashed")
