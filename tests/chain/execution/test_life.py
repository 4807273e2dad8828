"""The loop end to end on real work: tasks answered and paid, commons credited, seats apportioned."""

import numpy as np

from chain.execution import state_keys
from chain.execution.records import TaskStatus
from chain.reasons import Reason
from chain.types.transaction import Transfer
from tests.chain.execution.world import COINS, COMMONS, MODEL, MODELS, TINY, World, inputs_of, key


def test_transfer_moves_coins_and_burns_the_base_fee():
    world = World()
    receipt = world.do("alice", Transfer(key("bob").public_key, 250), tip=2)
    assert receipt.reason is Reason.OK
    assert receipt.fee == receipt.weight * 3
    assert world.balance("bob") == COINS + 250
    assert world.balance("alice") == COINS - 250 - receipt.fee
    assert world.balance("payout") == receipt.weight * 2


def test_commons_work_is_proven_credited_and_rewarded():
    world = World()
    world.register("alice")
    before = world.balance("alice")
    commit_id = world.earn("alice", units=5)
    fees = sum(r.fee for e in world.executions[1:] for r in e.outcome.receipts)
    reward = COMMONS.units(5) * world.params.reward_per_million_units // 10**6
    assert world.balance("alice") == before - fees + reward
    assert world.reasons(commit_id) == [
        Reason.WORK_COMMITTED, Reason.WORK_PROVEN, Reason.WORK_REWARDED, Reason.VOTE_COUNTED,
    ]  # fmt: skip
    assert world.reasons(key("alice/consensus").public_key) == [Reason.WORK_CREDITED]


def test_task_is_assigned_in_the_next_block_answered_and_paid():
    world = World()
    world.register("bob")
    task_id = world.submit("alice", rows=6, payment=500)
    assert world.task(task_id).status is TaskStatus.WAITING
    world.block()
    assert world.task(task_id).status is TaskStatus.ASSIGNED
    world.earn("bob", units=2, tasks=[task_id])
    task = world.task(task_id)
    assert (task.status, task.miner) == (TaskStatus.ANSWERED, key("bob").public_key)
    answer = MODELS.get(MODEL).read_answer(6, world.ledger.get_raw(state_keys.task_answer(task_id)))
    inputs = MODELS.get(MODEL).read_inputs(6, inputs_of(6))
    hidden = np.clip(
        (inputs.astype(np.int64) @ TINY.weights.array("weight 0").astype(np.int64).T
         + TINY.weights.array("bias 0").T + 128) >> 8, 0, 127,
    )  # fmt: skip
    logits = hidden @ TINY.weights.array("weight 1").astype(np.int64).T + TINY.weights.array("bias 1").T
    assert answer.reshape(-1).tolist() == logits.argmax(axis=1).tolist()
    assert world.reasons(task_id) == [
        Reason.TASK_SUBMITTED, Reason.TASK_ASSIGNED, Reason.TASK_COMMITTED, Reason.TASK_ANSWERED,
        Reason.TASK_PAID,
    ]  # fmt: skip


def test_seats_follow_work_after_the_genesis_epoch():
    world = World()
    world.register("alice")
    world.register("bob")
    world.earn("alice", units=30)
    world.until(10)
    committee = world.executions[-1].next_committee
    assert [v.consensus_key for v in committee.validators] == [key("alice/consensus").public_key]
    assert committee.seats == 8
    assert committee.validators[0].payout == key("alice").public_key
    assert Reason.SEATS_APPORTIONED in [event.reason for event in world.outcome.closing]
