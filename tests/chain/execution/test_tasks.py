"""Tasks: price and form, who gets them, deadlines, refunds, and how long they are remembered."""

from dataclasses import replace

import pytest

from chain.codec import encode
from chain.execution import queries, state_keys
from chain.execution.records import EpochUnits, TaskStatus, Weight
from chain.execution.tasks import price_of
from chain.reasons import Reason
from chain.types.transaction import SubmitTask, Unregister
from tests.chain.execution.world import COINS, MODEL, MODELS, OTHER_MODEL, PARAMS, World, inputs_of, key

ROWS = PARAMS.max_task_rows


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (SubmitTask(bytes(32), 1, inputs_of(1), 100), Reason.UNKNOWN_MODEL),
        (SubmitTask(MODEL, 0, b"", 100), Reason.TASK_BAD_INPUT),
        (SubmitTask(MODEL, ROWS + 1, inputs_of(ROWS + 1), 1000), Reason.TASK_BAD_INPUT),
        (SubmitTask(MODEL, 2, inputs_of(1), 100), Reason.TASK_BAD_INPUT),
        (SubmitTask(MODEL, 1, inputs_of(1)[:-1] + b"\x11", 100), Reason.TASK_BAD_INPUT),
        (SubmitTask(MODEL, 1, inputs_of(1)[:-1] + b"\xff", 100), Reason.TASK_BAD_INPUT),
        (SubmitTask(MODEL, 4, inputs_of(4), 20), Reason.TASK_PAYMENT_TOO_LOW),
        (SubmitTask(MODEL, 1, inputs_of(1), COINS), Reason.TASK_PAYMENT_TOO_HIGH),
    ],
)
def test_tasks_that_fail(body: SubmitTask, reason: Reason):
    world = World()
    receipt = world.do("alice", body)
    assert receipt.reason is reason
    assert world.balance("alice") == COINS - receipt.fee


def test_the_price_is_rounded_up_and_at_least_one():
    units = MODELS.get(MODEL).program(4).units
    assert units == 1_028
    assert price_of(units, params=PARAMS) == 21
    assert price_of(1, params=replace(PARAMS, price_per_million_units=0)) == 1
    world = World()
    assert world.do("alice", SubmitTask(MODEL, 4, inputs_of(4), 21)).reason is Reason.OK


def test_the_payment_is_locked_not_spent():
    world = World()
    world.submit("alice", payment=400)
    assert world.balance("alice") == COINS - world.receipt.fee - 400
    assert queries.supply(world.state).total == COINS * 5 - world.receipt.fee


def test_a_task_is_never_assigned_in_its_own_block():
    world = World()
    world.register("bob")
    task_id = world.submit("alice")
    assert Reason.TASK_ASSIGNED not in world.reasons(task_id)
    world.block()
    assert world.reasons(task_id) == [Reason.TASK_SUBMITTED, Reason.TASK_ASSIGNED]
    assert queries.assigned_tasks(world.state, key("bob").public_key) == [task_id]


def test_a_task_without_a_miner_waits_and_says_so():
    world = World()
    world.register("bob", models=[OTHER_MODEL])
    task_id = world.submit("alice")
    world.block()
    assert world.reasons(task_id) == [Reason.TASK_SUBMITTED, Reason.TASK_NO_MINER]
    world.register("carol")
    world.block()
    assert world.task(task_id).miner == key("carol").public_key


def test_a_task_that_nobody_ever_serves_is_refunded():
    world = World()
    before = world.balance("alice")
    task_id = world.submit("alice", payment=400)
    fee = world.receipt.fee
    patience = PARAMS.task_deadline * PARAMS.max_task_attempts
    world.until(world.height + patience - 1)
    assert world.task(task_id).status is TaskStatus.WAITING
    world.block()
    assert world.task(task_id).status is TaskStatus.REFUNDED
    assert world.balance("alice") == before - fee
    assert world.reasons(task_id)[-1] is Reason.TASK_REFUNDED


def test_the_last_block_before_the_deadline_still_counts():
    world = World()
    world.register("bob")
    task_id = world.submit("alice")
    world.block()
    last = next(e.amount for e in world.outcome.opening if e.reason is Reason.TASK_ASSIGNED)
    assert last == world.height + PARAMS.task_deadline
    world.until(last - 1)
    world.commit(world.work("bob", tasks=[task_id]))
    assert world.receipt.reason is Reason.OK


def test_a_missed_deadline_hands_the_task_to_another():
    world = World()
    world.register("bob")
    world.register("carol")
    task_id = world.submit("alice")
    world.block()
    first = world.task(task_id).miner
    world.until(world.height + PARAMS.task_deadline)
    assert world.task(task_id).miner == first
    world.block()
    task = world.task(task_id)
    assert (task.status, task.attempts, task.missed) == (TaskStatus.ASSIGNED, 2, (first,))
    assert {first, task.miner} == {key("bob").public_key, key("carol").public_key}
    assert [e.reason for e in world.outcome.opening] == [
        Reason.TASK_DEADLINE_MISSED, Reason.TASK_REASSIGNED, Reason.TASK_ASSIGNED,
    ]  # fmt: skip


def test_who_missed_it_gets_it_again_if_there_is_nobody_else():
    world = World()
    world.register("bob")
    task_id = world.submit("alice")
    world.blocks(PARAMS.task_deadline + 2)
    task = world.task(task_id)
    assert (task.attempts, task.miner) == (2, key("bob").public_key)


def test_after_the_last_attempt_the_payment_comes_back():
    world = World()
    world.register("bob")
    before = world.balance("alice")
    task_id = world.submit("alice", payment=300)
    fee = world.receipt.fee
    world.blocks(3 * (PARAMS.task_deadline + 1) + 1)
    assert world.task(task_id).status is TaskStatus.REFUNDED
    assert world.balance("alice") == before - fee
    assert world.reasons(task_id) == [
        Reason.TASK_SUBMITTED,
        *[Reason.TASK_ASSIGNED, Reason.TASK_DEADLINE_MISSED, Reason.TASK_REASSIGNED] * 2,
        Reason.TASK_ASSIGNED, Reason.TASK_DEADLINE_MISSED, Reason.TASK_REFUNDED,
    ]  # fmt: skip


def test_a_commit_that_is_never_proven_frees_its_tasks():
    world = World()
    world.register("bob")
    task_id = world.submit("alice")
    world.block()
    world.commit(world.work("bob", tasks=[task_id]))
    assert world.task(task_id).status is TaskStatus.COMMITTED
    assert world.ledger.find_raw(state_keys.task_answer(task_id)) is not None
    world.blocks(PARAMS.beacon_delay + PARAMS.proof_window + 1)
    assert world.task(task_id).attempts == 2
    assert world.ledger.find_raw(state_keys.task_answer(task_id)) is None
    assert world.reasons(task_id)[-2:] == [Reason.TASK_REASSIGNED, Reason.TASK_ASSIGNED]


def test_a_finished_task_is_kept_and_then_forgotten():
    world = World()
    world.register("bob")
    task_id = world.submit("alice")
    world.block()
    world.earn("bob", units=0, tasks=[task_id])
    done = world.height
    assert queries.task_inputs(world.state, task_id) is None
    world.until(done + PARAMS.task_retention)
    assert queries.task_answer(world.state, task_id) is not None
    world.block()
    assert queries.task(world.state, task_id) is None
    assert queries.task_answer(world.state, task_id) is None
    assert world.reasons(task_id)[-1] is Reason.TASK_FORGOTTEN


def weighted_world(weights: dict[str, int]) -> World:
    """Miners with given weights, proven in epoch 0."""
    world = World(accounts=("alice", *weights), params=replace(PARAMS, max_task_attempts=200))
    for name in weights:
        world.register(name)
    changes = {
        state_keys.weight(key(name + "/consensus").public_key): encode(Weight((EpochUnits(0, units),)))
        for name, units in weights.items()
        if units
    }
    world.state = world.state.updated(changes)
    return world


def draws(world: World, tasks: int) -> dict[bytes, int]:
    counts: dict[bytes, int] = {}
    signed = [
        world.sign("alice", SubmitTask(MODEL, 1, inputs_of(1, salt=i), 10), ahead=i) for i in range(tasks)
    ]
    world.block(*signed)
    world.block()
    for event in world.outcome.opening:
        counts[event.other] = counts.get(event.other, 0) + 1
    return counts


def test_tasks_fall_in_proportion_to_weight():
    counts = draws(weighted_world({"bob": 3_000, "carol": 1_000, "dave": 0}), 250)
    bob, carol, dave = (counts.get(key(name).public_key, 0) for name in ("bob", "carol", "dave"))
    assert (bob + carol, dave) == (250, 0)
    assert 168 <= bob <= 207  # 187.5 expected, a standard deviation of 6.8


def test_without_any_weight_tasks_fall_evenly():
    counts = draws(weighted_world({"bob": 0, "carol": 0, "dave": 0}), 250)
    assert all(60 <= count <= 107 for count in counts.values())
    assert sum(counts.values()) == 250


def test_assignments_a_block_are_bounded_and_first_come_first_served(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("chain.execution.tasks.MAX_ASSIGNMENTS_A_BLOCK", 3)
    world = World()
    world.register("bob")
    old = [world.sign("alice", SubmitTask(MODEL, 1, inputs_of(1, salt=i), 10), ahead=i) for i in range(5)]
    world.block(*old)
    late = world.sign("alice", SubmitTask(MODEL, 1, inputs_of(1, salt=9), 10))
    world.block(late)
    world.block()
    status = [world.task(signed.id).status for signed in old]
    assert status == [TaskStatus.ASSIGNED] * 5
    assert world.task(late.id).status is TaskStatus.ASSIGNED
    assert [world.task(signed.id).since for signed in old].count(3) == 3


def test_a_task_given_back_in_a_block_is_assigned_in_the_next():
    world = World()
    world.register("bob")
    world.register("carol")
    task_id = world.submit("alice")
    world.block()
    name = "bob" if world.task(task_id).miner == key("bob").public_key else "carol"
    world.do(name, Unregister())
    assert world.task(task_id).status is TaskStatus.WAITING
    world.block()
    assert world.task(task_id).miner == key("carol" if name == "bob" else "bob").public_key


def test_a_miner_with_full_hands_is_passed_over(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("chain.execution.tasks.MAX_TASKS_IN_HAND", 2)
    world = World(params=replace(PARAMS, task_deadline=30))
    world.register("bob")
    ids = [world.submit("alice", salt=salt) for salt in range(3)]
    world.block()
    bob, carol = key("bob").public_key, key("carol").public_key
    assert len(queries.assigned_tasks(world.state, bob)) == 2
    left = next(task_id for task_id in ids if world.task(task_id).status is TaskStatus.WAITING)
    world.register("carol")
    world.block()
    assert queries.assigned_tasks(world.state, carol) == [left]


def test_a_task_waits_for_a_free_hand(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("chain.execution.tasks.MAX_TASKS_IN_HAND", 1)
    world = World()
    world.register("bob")
    first = world.submit("alice")
    second = world.submit("alice", salt=1)
    world.block()
    assert world.task(second).status is TaskStatus.WAITING
    world.earn("bob", tasks=[first])
    assert world.task(second).miner == key("bob").public_key


def test_a_queue_that_waits_for_a_free_hand_keeps_no_other_model_waiting(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("chain.execution.tasks.MAX_ASSIGNMENTS_A_BLOCK", 3)
    monkeypatch.setattr("chain.execution.tasks.MAX_TASKS_IN_HAND", 1)
    first, second = sorted((MODEL, OTHER_MODEL))
    world = World()
    world.register("bob", models=(first,))
    world.register("carol", models=(second,))
    tasks = [SubmitTask(first, 1, inputs_of(1, salt=salt), 10) for salt in range(5)]
    world.block(*(world.sign("alice", task, ahead=ahead) for ahead, task in enumerate(tasks)))
    world.block()
    asked = world.sign("dave", SubmitTask(second, 1, inputs_of(1), 10))
    world.block(asked)
    world.block()
    assert world.task(asked.id).miner == key("carol").public_key
