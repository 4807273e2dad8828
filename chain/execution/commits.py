"""Commits: a miner binds itself to a trace before anyone knows which of its cells will be drawn.

What a commit covers is on the ledger already (tasks that the beacon assigned, commons units that continue the
miner's own range), so its cost in units is known and the claim must be exactly that. A wrong claim is a
signed lie and burns the bond. Everything that an honest miner can run into by being late costs it the fee and
nothing else.
"""

from dataclasses import dataclass
from itertools import pairwise

from chain.execution import miners, open_commits, state_keys, tasks
from chain.execution.invalid import Refused
from chain.execution.records import Commit, CommonsCursor, Miner, MinerStatus, Task, TaskStatus
from chain.execution.run import Run
from chain.reasons import Reason
from chain.types.transaction import CommitWork, TaskAnswer
from pouw.binding import MAX_SUM


@dataclass(frozen=True, slots=True)
class _Covered:
    """What a commit covers, looked up."""

    units: int
    commons_seed: bytes


def commit_work(run: Run, sender: bytes, body: CommitWork, *, commit_id: bytes) -> Reason:
    """Put a commit on the ledger.

    Returns:
        OK, or UNITS_OVERCLAIMED when the claim is not what the work costs: then the bond is burned.

    Raises:
        Refused: NOT_A_MINER, MINER_SUSPENDED, TOO_MANY_OPEN_COMMITS, EMPTY_COMMIT, TASKS_NOT_ASCENDING,
            TASK_NOT_ASSIGNED, ANSWER_WRONG_SHAPE, NOT_COMMONS, TOO_MANY_COMMONS_UNITS, COMMONS_WRONG_EPOCH,
            COMMONS_RANGE_USED or COMMIT_TOO_LARGE.
    """
    _check_miner(run, sender)
    covered = _covered(run, sender, body)
    if body.units != covered.units:
        detail = f"{body.units} units claimed, the work costs {covered.units}"
        miners.slash(run, sender, cause=commit_id, detail=detail)
        return Reason.UNITS_OVERCLAIMED

    if body.commons_count:
        cursor = CommonsCursor(body.commons_start + body.commons_count)
        run.ledger.put(state_keys.commons_cursor(body.commons_epoch, sender), cursor)
    commit = Commit(
        miner=sender, root=body.root, units=body.units, height=run.context.height,
        commons_seed=covered.commons_seed, commons_start=body.commons_start, commons_count=body.commons_count,
        tasks=tuple(answer.task for answer in body.tasks),
    )  # fmt: skip
    open_commits.open_commit(run, commit_id, commit)
    drawn_at = open_commits.beacon_height(commit.height, params=run.params)
    run.emit(
        Reason.WORK_COMMITTED, commit_id, other=sender, amount=body.units,
        detail=f"{len(body.tasks)} tasks, {body.commons_count} commons units, drawn at height {drawn_at}",
    )  # fmt: skip
    for answer in body.tasks:
        tasks.mark_committed(run, answer.task, commit_id=commit_id, answer=answer.answer)
    return Reason.OK


def close_unproven(run: Run) -> None:
    """Close the commits whose proof never came: the penalty burns, their tasks go to others."""
    prefix = state_keys.commit_due(run.context.height)
    for entry in list(run.ledger.keys(prefix)):
        commit_id = entry[len(prefix) :]
        commit = open_commits.close(run, commit_id)
        penalty = miners.penalise_missing_proof(run, commit.miner)
        run.emit(Reason.PROOF_MISSING, commit_id, other=commit.miner, amount=penalty)
        for task in commit.tasks:
            tasks.give_back(run, task)


def _check_miner(run: Run, sender: bytes) -> None:
    miner = run.ledger.find(Miner, state_keys.miner(sender))
    if miner is None or miner.status in (MinerStatus.UNBONDING, MinerStatus.SLASHED):
        state = "no miner" if miner is None else miner.status.name
        raise Refused(Reason.NOT_A_MINER, f"the sender is {state}")
    if miner.status is MinerStatus.SUSPENDED:
        raise Refused(Reason.MINER_SUSPENDED, f"the bond is {miner.bond}, the least is {run.params.min_bond}")
    if miner.open_commits >= run.params.max_open_commits:
        raise Refused(
            Reason.TOO_MANY_OPEN_COMMITS, f"{miner.open_commits} open, at most {run.params.max_open_commits}"
        )


def _covered(run: Run, sender: bytes, body: CommitWork) -> _Covered:
    if not body.tasks and not body.commons_count:
        raise Refused(Reason.EMPTY_COMMIT, "neither a task nor a commons unit")
    ids = [answer.task for answer in body.tasks]
    if any(low >= high for low, high in pairwise(ids)):
        raise Refused(Reason.TASKS_NOT_ASCENDING, "task ids are not strictly ascending")
    units = sum(_task_units(run, sender, answer) for answer in body.tasks)
    seed = bytes(32)
    if body.commons_count:
        seed = _commons_seed(run, sender, body)
        units += body.commons_count * run.models.commons_program.units
    elif body.commons_epoch or body.commons_start:
        raise Refused(
            Reason.NOT_COMMONS, f"commons epoch {body.commons_epoch}, start {body.commons_start}, but no unit"
        )
    if units > MAX_SUM:
        raise Refused(Reason.COMMIT_TOO_LARGE, f"{units} units, one commit holds at most {MAX_SUM}")
    return _Covered(units, seed)


def _task_units(run: Run, sender: bytes, answer: TaskAnswer) -> int:
    task = run.ledger.find(Task, state_keys.task(answer.task))
    if task is None or task.status is not TaskStatus.ASSIGNED or task.miner != sender:
        state = "unknown" if task is None else f"{task.status.name}, miner {task.miner.hex() or 'none'}"
        raise Refused(Reason.TASK_NOT_ASSIGNED, f"task {answer.task.hex()} is {state}")
    values = run.models.get(task.model).read_answer(task.rows, answer.answer)
    if isinstance(values, str):
        raise Refused(Reason.ANSWER_WRONG_SHAPE, values)
    return task.units


def _commons_seed(run: Run, sender: bytes, body: CommitWork) -> bytes:
    """Check the range of commons units; returns the epoch's seed."""
    if body.commons_count > run.params.max_commons_units:
        raise Refused(
            Reason.TOO_MANY_COMMONS_UNITS,
            f"{body.commons_count} units, at most {run.params.max_commons_units}",
        )
    epoch = run.context.epoch
    if body.commons_epoch not in (epoch, epoch - 1):
        raise Refused(Reason.COMMONS_WRONG_EPOCH, f"units of epoch {body.commons_epoch} in epoch {epoch}")
    key = state_keys.commons_cursor(body.commons_epoch, sender)
    cursor = run.ledger.find(CommonsCursor, key)
    expected = 0 if cursor is None else cursor.next
    if body.commons_start != expected:
        raise Refused(
            Reason.COMMONS_RANGE_USED, f"the range starts at {body.commons_start}, due is {expected}"
        )
    return run.ledger.get_raw(state_keys.epoch_seed(body.commons_epoch))
