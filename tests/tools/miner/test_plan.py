"""What a miner does next, case by case."""

from dataclasses import replace

import pytest

from chain.execution.records import MinerStatus
from tests.tools.chain_node import PARAMS
from tools.miner.plan import (
    SLACK_PENALTIES,
    Commit,
    CommonsJob,
    InFlight,
    Means,
    Prove,
    Register,
    Rest,
    Stop,
    TrainingRound,
    next_step,
)
from tools.rpc.messages import AssignedTask, MinerWork, OpenCommit

UNIT = 25_896
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


def task(number, due=110):
    return AssignedTask(name(number), name(200), 1, b"", due)


def commit(number, *, beacon=None, due=120):
    return OpenCommit(name(number), bytes(32), 1, 95, 19, SEED, 17, 0, 1, (), beacon, due)


def flight(kind, **details):
    return InFlight(name(99), 3, kind, b"", **details)


def step(work, in_flight=(), means=MEANS):
    return next_step(work, in_flight, params=PARAMS, means=means, unit_cost=UNIT)


def test_a_stranger_registers_with_slack_for_missed_proofs():
    assert step(STRANGER) == Register(PARAMS.min_bond + SLACK_PENALTIES * PARAMS.missed_proof_penalty)
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
    assert step(work, means=replace(MEANS, resting=True)) == Commit(work.tasks[:2], None, ROUND)
    assert step(work, [flight("commit", tasks=(name(1),))]) == Commit((work.tasks[1],), None, ROUND)


def test_shards_go_on_where_the_last_range_ends():
    assert step(ACTIVE) == Commit((), CommonsJob(7, 20), ROUND)
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


def test_a_slashed_miner_stops():
    stopped = step(replace(ACTIVE, status=MinerStatus.SLASHED, bond=0))
    assert isinstance(stopped, Stop)
    assert stopped.why.startswith("slashed")
