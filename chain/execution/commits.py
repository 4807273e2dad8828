"""Commits: a miner binds itself to a trace before anyone knows which of its cells will be drawn.

What a commit covers is on the ledger already (tasks that the beacon assigned, shards that continue the
miner's own range), so its cost in units is known and the claim must be exactly that. A wrong claim is a
signed lie and burns the bond. Everything that an honest miner can run into by being late costs it the fee and
nothing else.

A commit puts part of the bond at stake, as much as makes every lie in it a loss (`stakes`); what is at stake
for one commit covers no other. So whoever has little bond commits to little at a time.
"""

from dataclasses import dataclass
from itertools import pairwise

from chain.execution import miners, open_commits, stakes, state_keys, tasks, training
from chain.execution.invalid import Refused
from chain.execution.records import Commit, CommonsCursor, Miner, MinerStatus, Task, TaskStatus
from chain.execution.run import Run
from chain.reasons import Reason
from chain.types.transaction import CommitWork, TaskAnswer
from pouw.proofs.binding import MAX_SUM


@dataclass(frozen=True, slots=True)
class _Covered:
    """What a commit covers, looked up."""

    units: int
    tasks: tuple[Task, ...]
    step: int
    """Of the checkpoint that was used; 0 if none was."""


def commit_work(run: Run, sender: bytes, body: CommitWork, *, commit_id: bytes) -> Reason:
    """Put a commit on the ledger.

    Returns:
        OK, or UNITS_OVERCLAIMED when the claim is not what the work costs: then the bond is burned.

    Raises:
        Refused: NOT_A_MINER, MINER_SUSPENDED, TOO_MANY_OPEN_COMMITS, EMPTY_COMMIT, TASKS_NOT_ASCENDING,
            TASK_NOT_ASSIGNED, ANSWER_WRONG_SHAPE, NOT_COMMONS, COMMONS_WRONG_ROUND, TOO_MANY_COMMONS_UNITS,
            COMMONS_RANGE_USED, VOTE_MALFORMED, COMMIT_TOO_LARGE or STAKE_NOT_COVERED.
    """
    miner = _checked_miner(run, sender)
    covered = _covered(run, sender, body)
    if body.units != covered.units:
        detail = f"{body.units} units claimed, the work costs {covered.units}"
        miners.slash(run, sender, cause=commit_id, detail=detail)
        return Reason.UNITS_OVERCLAIMED
    stake = _covered_stake(run, sender, miner, covered, shards=body.commons_count)

    if body.commons_count:
        cursor = CommonsCursor(body.commons_start + body.commons_count)
        run.ledger.put(state_keys.commons_cursor(body.commons_round, sender), cursor)
    commit = Commit(
        miner=sender, root=body.root, units=body.units, stake=stake, height=run.context.height,
        commons_round=body.commons_round, commons_start=body.commons_start,
        commons_count=body.commons_count, vote=body.vote, tasks=tuple(answer.task for answer in body.tasks),
    )  # fmt: skip
    open_commits.open_commit(run, commit_id, commit)
    drawn_at = open_commits.beacon_height(commit.height, params=run.params)
    run.emit(
        Reason.WORK_COMMITTED, commit_id, other=sender, amount=body.units,
        detail=f"{len(body.tasks)} tasks, {body.commons_count} shards, drawn at height {drawn_at}; "
        f"{stake} of the bond at stake",
    )  # fmt: skip
    for answer in body.tasks:
        tasks.mark_committed(run, answer, commit_id=commit_id, step=covered.step)
    return Reason.OK


def close_unproven(run: Run) -> None:
    """Close the commits whose proof never came: what they put at stake burns, their tasks go to others."""
    prefix = state_keys.commit_due(run.context.height)
    for entry in list(run.ledger.keys(prefix)):
        commit_id = entry[len(prefix) :]
        commit = open_commits.close(run, commit_id)
        miners.burn_stake(run, commit.miner, commit.stake)
        run.emit(Reason.PROOF_MISSING, commit_id, other=commit.miner, amount=commit.stake)
        for task in commit.tasks:
            tasks.give_back(run, task)


def _checked_miner(run: Run, sender: bytes) -> Miner:
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
    return miner


def _covered_stake(run: Run, sender: bytes, miner: Miner, covered: _Covered, *, shards: int) -> int:
    """What a commit puts at stake, which must be free in the bond."""
    params, models = run.params, run.models
    items = [
        stakes.task_item(models.get(task.model), rows=task.rows, payment=task.payment, params=params)
        for task in covered.tasks
    ]
    if shards:
        items.append(stakes.shards_item(shards, params=params, commons=models.commons))
    stake = stakes.stake_of(items, params=params)
    taken = open_commits.at_stake(run, sender)
    if taken + stake > miner.bond:
        raise Refused(
            Reason.STAKE_NOT_COVERED,
            f"it puts {stake} at stake, open commits {taken}, the bond is {miner.bond}: "
            f"add {taken + stake - miner.bond} by registering again, prove what is open, or commit to less",
        )
    return stake


def _covered(run: Run, sender: bytes, body: CommitWork) -> _Covered:
    if not body.tasks and not body.commons_count:
        raise Refused(Reason.EMPTY_COMMIT, "neither a task nor a shard")
    ids = [answer.task for answer in body.tasks]
    if any(low >= high for low, high in pairwise(ids)):
        raise Refused(Reason.TASKS_NOT_ASCENDING, "task ids are not strictly ascending")
    asked = tuple(_assigned(run, sender, answer) for answer in body.tasks)
    units = sum(task.units for task in asked) + run.models.commons.units(body.commons_count)
    step = 0
    if body.commons_count or any(task.model == run.models.commons.id for task in asked):
        step = training.open_round(run, body.commons_round).step
    elif body.commons_round:
        raise Refused(Reason.NOT_COMMONS, f"round {body.commons_round}, but the commons model is not used")
    _check_shards(run, sender, body)
    if units > MAX_SUM:
        raise Refused(Reason.COMMIT_TOO_LARGE, f"{units} units, one commit holds at most {MAX_SUM}")
    return _Covered(units, asked, step)


def _assigned(run: Run, sender: bytes, answer: TaskAnswer) -> Task:
    """The task that an answer is to, which must have the right shape."""
    task = run.ledger.find(Task, state_keys.task(answer.task))
    if task is None or task.status is not TaskStatus.ASSIGNED or task.miner != sender:
        state = "unknown" if task is None else f"{task.status.name}, miner {task.miner.hex() or 'none'}"
        raise Refused(Reason.TASK_NOT_ASSIGNED, f"task {answer.task.hex()} is {state}")
    values = run.models.get(task.model).read_answer(task.rows, answer.answer)
    if isinstance(values, str):
        raise Refused(Reason.ANSWER_WRONG_SHAPE, values)
    return task


def _check_shards(run: Run, sender: bytes, body: CommitWork) -> None:
    """Check the range of shards and the form of the vote."""
    if not body.commons_count:
        if body.commons_start or body.vote:
            raise Refused(
                Reason.NOT_COMMONS, f"start {body.commons_start}, a vote of {len(body.vote)} bytes, no shard"
            )
        return
    if body.commons_count > run.params.max_commons_units:
        raise Refused(
            Reason.TOO_MANY_COMMONS_UNITS,
            f"{body.commons_count} shards, at most {run.params.max_commons_units}",
        )
    cursor = run.ledger.find(CommonsCursor, state_keys.commons_cursor(body.commons_round, sender))
    expected = 0 if cursor is None else cursor.next
    if body.commons_start != expected:
        raise Refused(
            Reason.COMMONS_RANGE_USED, f"the range starts at {body.commons_start}, due is {expected}"
        )
    vote = run.models.commons.voted.shape.unpack(body.vote)
    if isinstance(vote, str):
        raise Refused(Reason.VOTE_MALFORMED, vote)
