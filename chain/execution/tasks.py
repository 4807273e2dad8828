"""The life of a task, from its payment to its answer or its refund.

```
 submit ──► WAITING ──opening: beacon draws──► ASSIGNED ──commit──► COMMITTED ──proof──► ANSWERED, paid
              ▲  │                               │                     │
              │  │ patience over                 │ deadline missed,    │ proof wrong or missing,
              │  ▼                               │ miner left          │ miner slashed
              │ REFUNDED ◄──attempts used up─────┴─────────┬───────────┘
              └────────────────────────────────────────────┘
```

A task is never assigned in the block that brings it (its draw must not be known to whoever writes it down),
but in the opening of the next one, among the active miners that serve its model, in proportion to their
proven weight. Those that failed this task already are left out as long as there is another. Answer and record
stay for `task_retention` blocks.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from typing import Final

from chain.execution import coins, stakes, state_keys
from chain.execution.invalid import Refused
from chain.execution.models import Model
from chain.execution.records import Miner, Task, TaskStatus, Weight
from chain.execution.run import Run
from chain.hashing import digest
from chain.reasons import Reason
from chain.types.params import ChainParams
from chain.types.transaction import SubmitTask, TaskAnswer

MAX_ASSIGNMENTS_A_BLOCK: Final = 256
"""Bounds the work of an opening when a miner appears before a long queue."""

MAX_TASKS_IN_HAND: Final = 256
"""A miner that holds so many gets no more until it answers some: what it takes with it when it leaves, or
loses in one block, stays small."""


def price_of(units: int, *, params: ChainParams) -> int:
    """Least payment for a task of so many units: rounded up, at least 1."""
    return max(1, -(-units * params.price_per_million_units // 1_000_000))


def submit(run: Run, sender: bytes, body: SubmitTask, *, task_id: bytes) -> None:
    """Put a task on the ledger and lock its payment.

    Any miner may be drawn for it, so the least bond must cover what its commit puts at stake.

    Raises:
        Refused: UNKNOWN_MODEL, TASK_BAD_INPUT, TASK_PAYMENT_TOO_LOW, TASK_PAYMENT_TOO_HIGH or
            INSUFFICIENT_FUNDS.
    """
    model = run.models.find(body.model)
    if model is None:
        raise Refused(Reason.UNKNOWN_MODEL, f"the chain has no model {body.model.hex()}")
    units = _checked_units(run, model, body)
    price = price_of(units, params=run.params)
    if body.payment < price:
        raise Refused(Reason.TASK_PAYMENT_TOO_LOW, f"{body.payment} paid, {units} units cost {price}")
    _check_stake(run, model, body)
    coins.require(run.ledger, sender, body.payment)

    coins.debit(run.ledger, sender, body.payment)
    run.ledger.put(state_keys.task_inputs(task_id), body.inputs)
    run.emit(Reason.TASK_SUBMITTED, task_id, other=sender, amount=body.payment)
    height = run.context.height
    task = Task(
        submitter=sender, model=body.model, rows=body.rows, units=units, payment=body.payment,
        submitted_at=height, status=TaskStatus.WAITING, since=height, due=0, attempts=0,
        miner=b"", missed=(), commit=b"", step=0,
    )  # fmt: skip
    _wait(run, task_id, task)


def assign_waiting(run: Run) -> None:
    """Draw a miner for each waiting task whose model is served, oldest first."""
    left = MAX_ASSIGNMENTS_A_BLOCK
    for model in run.models.ids:
        prefix = state_keys.waiting(model)
        entries = list(islice(run.ledger.keys(prefix), left))
        servers = _servers(run, model) if entries else []
        if not servers:
            continue
        hands = {key: _hand(run, key) for key, _ in servers}
        for entry in entries:
            free = [server for server in servers if hands[server[0]] < MAX_TASKS_IN_HAND]
            if not free:
                break
            task_id = entry[-32:]
            task = run.ledger.get(Task, state_keys.task(task_id))
            key = _draw(run, task_id, task, free)
            _assign(run, task_id, task, key)
            hands[key] += 1
            left -= 1


def look_at_due(run: Run) -> None:
    """Take tasks from miners that missed a deadline, refund those that waited in vain, forget old ones."""
    prefix = state_keys.task_due(run.context.height)
    for entry in list(run.ledger.keys(prefix)):
        task_id = entry[len(prefix) :]
        task = run.ledger.get(Task, state_keys.task(task_id))
        run.ledger.delete(entry)
        if task.status is TaskStatus.ASSIGNED:
            run.emit(Reason.TASK_DEADLINE_MISSED, task_id, other=task.miner, amount=task.attempts)
            give_back(run, task_id)
        elif task.status is TaskStatus.WAITING:
            run.ledger.delete(state_keys.waiting(task.model, task.since, task_id))
            _refund(run, task_id, task)
        else:
            _forget(run, task_id, task)


def mark_committed(run: Run, answer: TaskAnswer, *, commit_id: bytes, step: int) -> None:
    """The miner that has a task committed to an answer, with the commons model after ``step`` steps."""
    task_id = answer.task
    task = _unscheduled(run, task_id)
    run.ledger.delete(state_keys.assigned(task.miner, task_id))
    run.ledger.put(state_keys.task_answer(task_id), answer.answer)
    committed = replace(
        task, status=TaskStatus.COMMITTED, since=run.context.height, due=0, commit=commit_id,
        step=step if task.model == run.models.commons.id else 0,
    )  # fmt: skip
    run.ledger.put(state_keys.task(task_id), committed)
    run.emit(Reason.TASK_COMMITTED, task_id, other=commit_id)


def give_back(run: Run, task_id: bytes) -> None:
    """Take a task from the miner that has it or committed to it: to the queue, or back to the submitter."""
    task = _unscheduled(run, task_id)
    failed = task.miner
    run.ledger.delete(state_keys.assigned(failed, task_id))
    run.ledger.delete(state_keys.task_answer(task_id))
    missed = task.missed if failed in task.missed else (*task.missed, failed)
    task = replace(task, due=0, miner=b"", missed=missed, commit=b"", step=0)
    if task.attempts >= run.params.max_task_attempts:
        _refund(run, task_id, task)
        return
    run.emit(Reason.TASK_REASSIGNED, task_id, other=failed, amount=task.attempts)
    _wait(run, task_id, task)


def pay(run: Run, task_id: bytes) -> None:
    """The answer is proven: the payment goes to its miner."""
    task = run.ledger.get(Task, state_keys.task(task_id))
    assert task.status is TaskStatus.COMMITTED, f"task {task_id.hex()} is {task.status.name}"
    coins.credit(run.ledger, task.miner, task.payment)
    run.emit(Reason.TASK_ANSWERED, task_id, other=task.commit)
    run.emit(Reason.TASK_PAID, task_id, other=task.miner, amount=task.payment)
    _finish(run, task_id, replace(task, status=TaskStatus.ANSWERED))


def _checked_units(run: Run, model: Model, body: SubmitTask) -> int:
    if not 1 <= body.rows <= run.params.max_task_rows:
        raise Refused(
            Reason.TASK_BAD_INPUT, f"{body.rows} rows, 1 to {run.params.max_task_rows} may be asked for"
        )
    inputs = model.read_inputs(body.rows, body.inputs)
    if isinstance(inputs, str):
        raise Refused(Reason.TASK_BAD_INPUT, inputs)
    return model.shape(body.rows).units


def _check_stake(run: Run, model: Model, body: SubmitTask) -> None:
    item = stakes.task_item(model, rows=body.rows, payment=body.payment, params=run.params)
    stake = stakes.stake_of([item], params=run.params)
    if stake > run.params.min_bond:
        raise Refused(
            Reason.TASK_PAYMENT_TOO_HIGH,
            f"whoever answers for {body.payment} coins must put {stake} at stake, the least bond is "
            f"{run.params.min_bond}: pay less, or ask in parts",
        )


def _wait(run: Run, task_id: bytes, task: Task) -> None:
    """Put a task that is in no index into the queue, for as long as all its attempts could take."""
    height = run.context.height
    due = height + run.params.task_deadline * run.params.max_task_attempts
    waiting = replace(task, status=TaskStatus.WAITING, since=height, due=due)
    run.ledger.put(state_keys.task(task_id), waiting)
    run.ledger.put(state_keys.waiting(task.model, height, task_id), b"")
    run.ledger.put(state_keys.task_due(due, task_id), b"")
    if next(run.ledger.keys(state_keys.server(task.model)), None) is None:
        run.emit(Reason.TASK_NO_MINER, task_id, other=task.model, amount=due)


def _unscheduled(run: Run, task_id: bytes) -> Task:
    task = run.ledger.get(Task, state_keys.task(task_id))
    if task.due:
        run.ledger.delete(state_keys.task_due(task.due, task_id))
    return task


def _servers(run: Run, model: bytes) -> list[tuple[bytes, int]]:
    """Active miners that serve a model, each with its weight: the window and the current epoch."""
    first = max(0, run.context.epoch - run.params.averaging_window)
    prefix = state_keys.server(model)
    servers = []
    for entry in run.ledger.keys(prefix):
        key = entry[len(prefix) :]
        miner = run.ledger.get(Miner, state_keys.miner(key))
        weight = run.ledger.find(Weight, state_keys.weight(miner.consensus_key))
        servers.append((key, 0 if weight is None else weight.since(first)))
    return servers


def _hand(run: Run, key: bytes) -> int:
    """Tasks in a miner's hands."""
    return sum(1 for _ in run.ledger.keys(state_keys.assigned(key)))


def _draw(run: Run, task_id: bytes, task: Task, servers: Sequence[tuple[bytes, int]]) -> bytes:
    """The miner that the block's beacon gives a task to."""
    if task.missed:
        servers = [server for server in servers if server[0] not in task.missed] or servers
    total = sum(weight for _, weight in servers)
    seed = digest("headrace/assignment", run.context.beacon, task_id, bytes([task.attempts]))
    draw = int.from_bytes(seed, "big")
    if total == 0:
        return servers[draw * len(servers) >> 256][0]
    # The bias of scaling 256 bits down to a total below 2**140 is under 2**-116.
    position = draw * total >> 256
    for key, weight in servers:
        if position < weight:
            return key
        position -= weight
    raise AssertionError("weights do not add up")


def _assign(run: Run, task_id: bytes, task: Task, key: bytes) -> None:
    height = run.context.height
    last = height + run.params.task_deadline
    run.ledger.delete(state_keys.waiting(task.model, task.since, task_id))
    run.ledger.delete(state_keys.task_due(task.due, task_id))
    run.ledger.put(state_keys.task_due(last + 1, task_id), b"")
    run.ledger.put(state_keys.assigned(key, task_id), b"")
    assigned = replace(
        task, status=TaskStatus.ASSIGNED, since=height, due=last + 1, attempts=task.attempts + 1, miner=key
    )
    run.ledger.put(state_keys.task(task_id), assigned)
    run.emit(
        Reason.TASK_ASSIGNED, task_id, other=key, amount=last,
        detail=f"attempt {assigned.attempts}, the commit is due by height {last}",
    )  # fmt: skip


def _refund(run: Run, task_id: bytes, task: Task) -> None:
    coins.credit(run.ledger, task.submitter, task.payment)
    run.emit(
        Reason.TASK_REFUNDED, task_id, other=task.submitter, amount=task.payment,
        detail=f"after {task.attempts} assignments",
    )  # fmt: skip
    _finish(run, task_id, replace(task, status=TaskStatus.REFUNDED))


def _finish(run: Run, task_id: bytes, task: Task) -> None:
    height = run.context.height
    due = height + run.params.task_retention + 1
    run.ledger.delete(state_keys.task_inputs(task_id))
    run.ledger.put(state_keys.task_due(due, task_id), b"")
    run.ledger.put(state_keys.task(task_id), replace(task, since=height, due=due))


def _forget(run: Run, task_id: bytes, task: Task) -> None:
    assert task.status in (TaskStatus.ANSWERED, TaskStatus.REFUNDED), (
        f"{task.status.name} tasks are not forgotten"
    )
    run.ledger.delete(state_keys.task_answer(task_id))
    run.ledger.delete(state_keys.task(task_id))
    run.emit(Reason.TASK_FORGOTTEN, task_id, other=task.submitter)
