"""Commits that await their proof: their record, their two indices and their miner's count, kept in step."""

from dataclasses import replace

from chain.execution import state_keys
from chain.execution.records import Commit, Miner
from chain.execution.run import Run
from chain.types.params import ChainParams


def beacon_height(commit_height: int, *, params: ChainParams) -> int:
    """Height whose beacon draws the cells; its proof may be in any later block."""
    return commit_height + params.beacon_delay


def missing_at(commit_height: int, *, params: ChainParams) -> int:
    """Height whose opening finds that the proof never came; the block before may still carry it."""
    return beacon_height(commit_height, params=params) + params.proof_window + 1


def open_commit(run: Run, commit_id: bytes, commit: Commit) -> None:
    """Put a new commit on the ledger."""
    ledger = run.ledger
    ledger.put(state_keys.commit(commit_id), commit)
    ledger.put(state_keys.commit_due(missing_at(commit.height, params=run.params), commit_id), b"")
    ledger.put(state_keys.commit_of(commit.miner, commit_id), b"")
    miner = ledger.get(Miner, state_keys.miner(commit.miner))
    ledger.put(state_keys.miner(commit.miner), replace(miner, open_commits=miner.open_commits + 1))


def at_stake(run: Run, key: bytes) -> int:
    """Coins of a miner's bond that its open commits put at stake."""
    prefix = state_keys.commit_of(key)
    ids = [entry[len(prefix) :] for entry in run.ledger.keys(prefix)]
    return sum(run.ledger.get(Commit, state_keys.commit(commit_id)).stake for commit_id in ids)


def close(run: Run, commit_id: bytes) -> Commit:
    """Take an open commit off the ledger; returns what it was."""
    ledger = run.ledger
    commit = ledger.get(Commit, state_keys.commit(commit_id))
    ledger.delete(state_keys.commit(commit_id))
    ledger.delete(state_keys.commit_due(missing_at(commit.height, params=run.params), commit_id))
    ledger.delete(state_keys.commit_of(commit.miner, commit_id))
    miner = ledger.get(Miner, state_keys.miner(commit.miner))
    ledger.put(state_keys.miner(commit.miner), replace(miner, open_commits=miner.open_commits - 1))
    return commit
