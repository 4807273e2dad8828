"""Models, prices and tasks."""

from chain.codec import U16, Hash32
from chain.execution import queries, state_keys, tasks
from chain.execution.models import Model
from chain.execution.records import Task, TaskStatus
from chain.reasons import Reason
from chain.types.transaction import CommitWork, SubmitTask
from tools.rpc.advice import refusal
from tools.rpc.faults import Code, RpcFault
from tools.rpc.messages import ModelView, Quote, TaskView
from tools.rpc.methods.earlier import not_here
from tools.rpc.view import NodeView

_ENVELOPE_WEIGHT = 200
"""Bytes of a signed task beside its inputs, roughly."""


def models(node: NodeView) -> tuple[ModelView, ...]:
    """The models that tasks may ask."""
    return tuple(_model(node, node.models.get(model)) for model in node.models.ids)


def quote(node: NodeView, model: Hash32, rows: U16) -> Quote:
    """What a task of so many rows costs now."""
    found = node.models.find(model)
    if found is None:
        raise refusal(Reason.UNKNOWN_MODEL)
    params = node.genesis.params
    if not 1 <= rows <= params.max_task_rows:
        raise RpcFault(
            Code.INVALID_PARAMS, f"$.rows: {rows} rows, 1 to {params.max_task_rows} may be asked for"
        )
    units = found.shape(rows).units
    weight = found.input_bytes(rows) + _ENVELOPE_WEIGHT
    base_fee = queries.head(node.state).next_base_fee
    return Quote(
        model=model,
        rows=rows,
        units=units,
        price=tasks.price_of(units, params=params),
        fee=weight * base_fee,
        base_fee=base_fee,
        miners=sum(1 for _ in node.state.keys(state_keys.server(model))),
    )


def task(node: NodeView, id: Hash32) -> TaskView:  # noqa: A002 - the parameter's name on the wire
    """A task by the id of the transaction that submitted it, with its answer once there is one."""
    body, submitter, height = _submission(node, id)
    found = queries.task(node.state, id) or _from_events(node, id, body, submitter, height)
    return TaskView(
        id=id,
        submitter=submitter,
        model=body.model,
        rows=body.rows,
        inputs=body.inputs,
        units=found.units,
        payment=body.payment,
        status=found.status,
        submitted_at=height,
        since=found.since,
        attempts=found.attempts,
        miner=found.miner or None,
        missed=found.missed,
        commit=found.commit or None,
        step=found.step,
        answer=_answer(node, id, found),
    )


def _model(node: NodeView, model: Model) -> ModelView:
    program = model.program(1)
    first, last = program.tensors[0], program.tensors[program.last]
    return ModelView(
        id=model.id,
        name=model.name,
        input_width=first.cols,
        input_bytes=first.dtype.size,
        input_low=model.input_low,
        input_high=model.input_high,
        answer_width=last.cols,
        answer_bytes=last.dtype.size,
        units_per_row=program.units,
        commons=model.id == node.models.commons.id,
    )


def _submission(node: NodeView, task_id: bytes) -> tuple[SubmitTask, bytes, int]:
    place = node.store.find_transaction(task_id)
    block = None if place is None else node.store.block(place[0])
    outcome = None if place is None else node.store.outcome(place[0])
    if place is None or block is None or outcome is None:
        raise not_here(
            node,
            f"no final task {task_id.hex()}",
            next_step=f"if it was sent just now: `headrace why {task_id.hex()}`",
        )
    height, index = place
    transaction = block.transactions[index].transaction
    if not isinstance(transaction.body, SubmitTask):
        raise RpcFault(
            Code.NOT_FOUND,
            f"{task_id.hex()} is a transaction, but no task",
            next_step=f"`headrace why {task_id.hex()}`",
        )
    reason = outcome.receipts[index].reason
    if reason is not Reason.OK:
        raise refusal(reason)
    return transaction.body, transaction.sender, height


def _from_events(node: NodeView, task_id: bytes, body: SubmitTask, submitter: bytes, height: int) -> Task:
    """A finished task that the state has forgotten, from what the blocks say of it."""
    status, since, attempts, miner, commit = TaskStatus.REFUNDED, height, 0, b"", b""
    for at, event in node.store.events_about(task_id):
        if event.subject != task_id:
            continue
        match event.reason:
            case Reason.TASK_ASSIGNED:
                attempts += 1
            case Reason.TASK_COMMITTED:
                commit = event.other
            case Reason.TASK_PAID:
                status, since, miner = TaskStatus.ANSWERED, at, event.other
            case Reason.TASK_REFUNDED:
                status, since, commit = TaskStatus.REFUNDED, at, b""
    model = node.models.find(body.model)
    return Task(
        submitter=submitter, model=body.model, rows=body.rows,
        units=0 if model is None else model.shape(body.rows).units, payment=body.payment,
        submitted_at=height, status=status, since=since, due=0, attempts=attempts, miner=miner, missed=(),
        commit=commit, step=0,
    )  # fmt: skip


def _answer(node: NodeView, task_id: bytes, task: Task) -> bytes | None:
    """From the state while it keeps it, from the commit's block for ever."""
    kept = queries.task_answer(node.state, task_id)
    if kept is not None or not task.commit:
        return kept
    place = node.store.find_transaction(task.commit)
    block = None if place is None else node.store.block(place[0])
    if place is None or block is None:
        return None
    body = block.transactions[place[1]].transaction.body
    if not isinstance(body, CommitWork):
        return None
    return next((item.answer for item in body.tasks if item.task == task_id), None)
