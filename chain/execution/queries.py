"""Reading a state: typed look-ups for everything outside of execution."""

from collections.abc import Iterator
from typing import Final, TypeVar

from chain.codec import decode
from chain.execution import state_keys
from chain.execution.records import (
    Account,
    Commit,
    CommonsCursor,
    Conviction,
    Head,
    Miner,
    Progress,
    Round,
    Supply,
    Task,
    Weight,
)
from chain.state.tree import StateTree
from chain.types.committee import Committee

_RECORD_LIMIT: Final = 1 << 20
_NOBODY: Final = Account(0, 0)
_T = TypeVar("_T")


def account(state: StateTree, key: bytes) -> Account:
    """An account; one that nobody has used is empty."""
    return _find(Account, state, state_keys.account(key)) or _NOBODY


def head(state: StateTree) -> Head:
    """Height and beacon of the state's block, and the base fee of the next."""
    return _get(Head, state, state_keys.HEAD)


def supply(state: StateTree) -> Supply:
    """Coins at genesis, minted and burned."""
    return _get(Supply, state, state_keys.SUPPLY)


def miner(state: StateTree, key: bytes) -> Miner | None:
    """The miner of an account."""
    return _find(Miner, state, state_keys.miner(key))


def miners(state: StateTree) -> Iterator[tuple[bytes, Miner]]:
    """All miners by account, ascending."""
    prefix = state_keys.miner(b"")
    for key, raw in state.items(prefix):
        yield key[len(prefix) :], decode(Miner, raw, limit=_RECORD_LIMIT)


def miner_of(state: StateTree, consensus_key: bytes) -> bytes | None:
    """Account that a consensus key is tied to."""
    return state.get(state_keys.miner_of(consensus_key))


def weight(state: StateTree, consensus_key: bytes) -> Weight:
    """Proven units of a consensus key by epoch."""
    return _find(Weight, state, state_keys.weight(consensus_key)) or Weight(())


def task(state: StateTree, task_id: bytes) -> Task | None:
    """A task by its id."""
    return _find(Task, state, state_keys.task(task_id))


def task_inputs(state: StateTree, task_id: bytes) -> bytes | None:
    """Inputs of an open task."""
    return state.get(state_keys.task_inputs(task_id))


def task_answer(state: StateTree, task_id: bytes) -> bytes | None:
    """Answer to a task: given from its commit on, proven once the task is ANSWERED."""
    return state.get(state_keys.task_answer(task_id))


def assigned_tasks(state: StateTree, key: bytes) -> list[bytes]:
    """Ids of the tasks in a miner's hands, ascending."""
    prefix = state_keys.assigned(key)
    return [entry[len(prefix) :] for entry in state.keys(prefix)]


def commit(state: StateTree, commit_id: bytes) -> Commit | None:
    """A commit that awaits its proof."""
    return _find(Commit, state, state_keys.commit(commit_id))


def open_commits(state: StateTree, key: bytes) -> list[bytes]:
    """Ids of a miner's commits that await their proof, ascending."""
    prefix = state_keys.commit_of(key)
    return [entry[len(prefix) :] for entry in state.keys(prefix)]


def next_shard(state: StateTree, round_number: int, key: bytes) -> int:
    """Where a miner's next range of shards of a round starts."""
    cursor = _find(CommonsCursor, state, state_keys.commons_cursor(round_number, key))
    return 0 if cursor is None else cursor.next


def training_round(state: StateTree, round_number: int) -> Round | None:
    """A round that has begun, as long as a proof may need it."""
    return _find(Round, state, state_keys.training_round(round_number))


def checkpoint(state: StateTree, step: int) -> bytes | None:
    """The commons model in use after so many steps, as long as a proof may need it."""
    return state.get(state_keys.checkpoint(step))


def progress(state: StateTree) -> Progress:
    """What became of the commons model."""
    return _get(Progress, state, state_keys.PROGRESS)


def beacon(state: StateTree, height: int) -> bytes | None:
    """Beacon of a recent height."""
    return state.get(state_keys.beacon(height))


def committee(state: StateTree, epoch: int) -> Committee | None:
    """Committee of the current epoch, of those whose evidence still counts, and of the next once known."""
    return _find(Committee, state, state_keys.committee(epoch))


def conviction(state: StateTree, consensus_key: bytes) -> Conviction | None:
    """What a consensus key was convicted of."""
    return _find(Conviction, state, state_keys.conviction(consensus_key))


def convictions(state: StateTree) -> Iterator[tuple[bytes, Conviction]]:
    """All convicted consensus keys, ascending."""
    prefix = state_keys.conviction()
    for key, raw in state.items(prefix):
        yield key[len(prefix) :], decode(Conviction, raw, limit=_RECORD_LIMIT)


def _find(kind: type[_T], state: StateTree, key: bytes) -> _T | None:
    raw = state.get(key)
    return None if raw is None else decode(kind, raw, limit=_RECORD_LIMIT)


def _get(kind: type[_T], state: StateTree, key: bytes) -> _T:
    record = _find(kind, state, key)
    assert record is not None, f"the state lacks {kind.__name__} {key.hex()}"
    return record
