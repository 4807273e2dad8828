"""Checks over a whole state: every coin is somewhere, and every index says what its records say.

For tests, for `headrace` checks of a database, and for readers: this is the invariant that all rules keep.
"""

from typing import Final, TypeVar

from chain.codec import decode
from chain.execution import queries, state_keys
from chain.execution.records import Account, Commit, Miner, MinerStatus, Supply, Task, TaskStatus
from chain.state.tree import StateTree
from chain.types.params import ChainParams

_LIMIT: Final = 1 << 24
_OPEN: Final = (TaskStatus.WAITING, TaskStatus.ASSIGNED, TaskStatus.COMMITTED)

_T = TypeVar("_T")


class StateError(Exception):
    """A state that contradicts itself; the message names the entry."""


def check_state(state: StateTree, *, params: ChainParams) -> None:
    """Check coins and indices of a state.

    Raises:
        StateError: The first contradiction found.
    """
    check_coins(state)
    _check_miners(state)
    _check_tasks(state)
    _check_commits(state, params)
    _check_candidates(state, params)


def check_coins(state: StateTree) -> None:
    """Compare balances, bonds and locked payments with the supply.

    Raises:
        StateError: They differ.
    """
    balances = sum(account.balance for _, account in _records(state, b"\x01", Account))
    bonds = sum(miner.bond for _, miner in _records(state, b"\x02", Miner))
    locked = sum(task.payment for _, task in _records(state, b"\x10", Task) if task.status in _OPEN)
    raw = state.get(state_keys.SUPPLY)
    if raw is None:
        raise StateError("the state has no supply")
    supply = decode(Supply, raw, limit=_LIMIT)
    if balances + bonds + locked != supply.total:
        raise StateError(
            f"balances {balances} + bonds {bonds} + locked {locked} = {balances + bonds + locked}, "
            f"the supply is {supply.total}"
        )


def _check_miners(state: StateTree) -> None:
    ties, servers, unbonding = set(), set(), set()
    for key, miner in _records(state, b"\x02", Miner):
        count = sum(1 for _ in state.keys(state_keys.commit_of(key)))
        if miner.open_commits != count:
            raise StateError(f"miner {key.hex()} counts {miner.open_commits} open commits, there are {count}")
        staked = sum(
            _open_commit(state, entry[-32:]).stake for entry in state.keys(state_keys.commit_of(key))
        )
        if staked > miner.bond:
            raise StateError(f"miner {key.hex()} has {staked} at stake of a bond of {miner.bond}")
        if miner.status is not MinerStatus.SLASHED:
            ties.add(state_keys.miner_of(miner.consensus_key) + key)
        if miner.status is MinerStatus.ACTIVE:
            servers |= {state_keys.server(model, key) for model in miner.models}
        if miner.status is MinerStatus.UNBONDING:
            unbonding.add(state_keys.unbonding(miner.unbonds_at, key))
    _same("miner_of", {key + value for key, value in state.items(b"\x03")}, ties)
    _same("unbonding", set(state.keys(b"\x04")), unbonding)
    _same("server", set(state.keys(b"\x06")), servers)


def _check_tasks(state: StateTree) -> None:
    waiting, due, assigned, inputs, answers = set(), set(), set(), set(), set()
    for key, task in _records(state, b"\x10", Task):
        if task.due:
            due.add(state_keys.task_due(task.due, key))
        if task.status is TaskStatus.WAITING:
            waiting.add(state_keys.waiting(task.model, task.since, key))
        if task.status is TaskStatus.ASSIGNED:
            assigned.add(state_keys.assigned(task.miner, key))
        if task.status in _OPEN:
            inputs.add(state_keys.task_inputs(key))
        if task.status in (TaskStatus.COMMITTED, TaskStatus.ANSWERED):
            answers.add(state_keys.task_answer(key))
        if (task.due == 0) != (task.status is TaskStatus.COMMITTED):
            raise StateError(f"task {key.hex()} is {task.status.name} and due at {task.due}")
    _same("task_inputs", set(state.keys(b"\x11")), inputs)
    _same("task_answer", set(state.keys(b"\x12")), answers)
    _same("waiting", set(state.keys(b"\x13")), waiting)
    _same("task_due", set(state.keys(b"\x14")), due)
    _same("assigned", set(state.keys(b"\x15")), assigned)


def _check_commits(state: StateTree, params: ChainParams) -> None:
    due, by_miner = set(), set()
    for key, commit in _records(state, b"\x20", Commit):
        missing = commit.height + params.beacon_delay + params.proof_window + 1
        due.add(state_keys.commit_due(missing, key))
        by_miner.add(state_keys.commit_of(commit.miner, key))
        for task_id in commit.tasks:
            raw = state.get(state_keys.task(task_id))
            task = None if raw is None else decode(Task, raw, limit=_LIMIT)
            if task is None or task.status is not TaskStatus.COMMITTED or task.commit != key:
                raise StateError(f"commit {key.hex()} covers task {task_id.hex()}, which does not say so")
    _same("commit_due", set(state.keys(b"\x21")), due)
    _same("commit_of", set(state.keys(b"\x22")), by_miner)


def _check_candidates(state: StateTree, params: ChainParams) -> None:
    head = queries.head(state)
    epoch = params.epoch_of(max(head.height, 1))
    is_weighed = params.weighed_at(epoch) <= head.height < params.last_height(epoch)
    if not is_weighed and any(True for _ in state.keys(state_keys.candidate())):
        raise StateError(f"there are candidates at height {head.height}, and no draw of seats is due")


def _open_commit(state: StateTree, commit_id: bytes) -> Commit:
    raw = state.get(state_keys.commit(commit_id))
    if raw is None:
        raise StateError(f"index commit_of: {commit_id.hex()} is extra")
    return decode(Commit, raw, limit=_LIMIT)


def _records(state: StateTree, prefix: bytes, kind: type[_T]) -> list[tuple[bytes, _T]]:
    return [(key[1:], decode(kind, value, limit=_LIMIT)) for key, value in state.items(prefix)]


def _same(index: str, found: set[bytes], expected: set[bytes]) -> None:
    if found != expected:
        odd = min(found ^ expected)
        raise StateError(f"index {index}: {odd.hex()} is {'extra' if odd in found else 'missing'}")
