"""Miners: registering, leaving, and what costs the bond.

```
             register    ┌─┐ register with more
                         ▼ │               missed proof leaves less than min_bond
  (nobody) ───────────► ACTIVE ─────────────────────────────────────► SUSPENDED
      ▲  ▲                │ ▲          register with the difference       │
      │  │                │ └─────────────────────────────────────────────┤
      │  │     unregister ▼                                               │ unregister
      │  └─────────── UNBONDING ◄─────────────────────────────────────────┘
      │  bond returned
      └── SLASHED ◄── from any of them, when signed work is proven wrong (may register anew) or the consensus
                       key contradicts itself (may register anew with another key)
```

An unbonding or suspended miner may still prove what it committed; it takes no tasks, commits nothing, holds
no seats in later committees. Its bond stays locked until no proof of its can be due any more and no evidence
of its seats counts any more, so leaving is no way around a penalty.
"""

from dataclasses import replace
from itertools import pairwise

from chain.crypto import ed25519
from chain.execution import coins, open_commits, state_keys, tasks
from chain.execution.invalid import Refused
from chain.execution.records import Conviction, Miner, MinerStatus
from chain.execution.run import Run
from chain.reasons import Reason
from chain.types.committee import Committee
from chain.types.transaction import RegisterMiner, possession_message


def find_miner(run: Run, key: bytes) -> Miner | None:
    """The miner of an account."""
    return run.ledger.find(Miner, state_keys.miner(key))


def register(run: Run, sender: bytes, body: RegisterMiner) -> None:
    """Lock a bond and begin, or begin again, to mine; or add to the bond.

    A suspended miner registers with the difference to the least bond, an active one with what it adds, both
    under the same consensus key. The models are those named last; tasks of others stay in its hands.

    Raises:
        Refused: ALREADY_REGISTERED, CONSENSUS_KEY_TAKEN, CONSENSUS_KEY_CONVICTED, BAD_MODEL_LIST,
            UNKNOWN_MODEL, BAD_POSSESSION, BOND_TOO_LOW or INSUFFICIENT_FUNDS.
    """
    old = find_miner(run, sender)
    locked = _check_place(run, sender, old, body)
    _check_models(run, body)
    message = possession_message(run.params.chain_id, sender)
    if not ed25519.verify(body.consensus_key, message, body.possession):
        raise Refused(Reason.BAD_POSSESSION, f"the signature is not by {body.consensus_key.hex()}")
    bond = locked + body.bond
    if bond < run.params.min_bond:
        raise Refused(Reason.BOND_TOO_LOW, f"the bond would be {bond}, the least is {run.params.min_bond}")
    coins.require(run.ledger, sender, body.bond)

    coins.debit(run.ledger, sender, body.bond)
    if old is not None and old.status is MinerStatus.ACTIVE:
        for model in old.models:
            run.ledger.delete(state_keys.server(model, sender))
    awaiting = old.open_commits if old is not None else 0
    miner = Miner(body.consensus_key, bond, MinerStatus.ACTIVE, 0, awaiting, body.models)
    run.ledger.put(state_keys.miner(sender), miner)
    run.ledger.put(state_keys.miner_of(body.consensus_key), sender)
    for model in body.models:
        run.ledger.put(state_keys.server(model, sender), b"")
    run.emit(Reason.MINER_REGISTERED, sender, other=body.consensus_key, amount=bond)


def unregister(run: Run, sender: bytes) -> None:
    """Stop mining; the bond comes back once nothing of the miner can be due any more.

    Raises:
        Refused: NOT_A_MINER.
    """
    miner = find_miner(run, sender)
    if miner is None or miner.status not in (MinerStatus.ACTIVE, MinerStatus.SUSPENDED):
        raise Refused(Reason.NOT_A_MINER, "the sender has no bond that it could ask back")
    params = run.params
    height = max(
        run.context.height + params.unbonding_blocks,
        open_commits.missing_at(run.context.height, params=params),
        _released_at(run, miner.consensus_key),
    )
    run.ledger.put(state_keys.miner(sender), replace(miner, status=MinerStatus.UNBONDING, unbonds_at=height))
    run.ledger.put(state_keys.unbonding(height, sender), b"")
    _stop_serving(run, sender, miner)
    run.emit(Reason.UNBONDING_STARTED, sender, other=miner.consensus_key, amount=height)


def return_bonds(run: Run) -> None:
    """Give back the bonds that are due in this block, and forget their miners."""
    prefix = state_keys.unbonding(run.context.height)
    for entry in list(run.ledger.keys(prefix)):
        key = entry[len(prefix) :]
        miner = run.ledger.get(Miner, state_keys.miner(key))
        assert miner.status is MinerStatus.UNBONDING and miner.open_commits == 0, f"{miner} is not done"
        run.ledger.delete(entry)
        run.ledger.delete(state_keys.miner(key))
        run.ledger.delete(state_keys.miner_of(miner.consensus_key))
        run.ledger.delete(state_keys.weight(miner.consensus_key))
        coins.credit(run.ledger, key, miner.bond)
        run.emit(Reason.BOND_RETURNED, key, other=miner.consensus_key, amount=miner.bond)


def slash(run: Run, key: bytes, *, cause: bytes, detail: str, reason: Reason = Reason.MINER_SLASHED) -> None:
    """Burn the bond of a miner that is proven to have lied, and drop the weight of all its work.

    Args:
        run: The block at hand.
        key: The miner.
        cause: Id of the commit that was false, or the consensus key that contradicted itself.
        detail: What was wrong with it.
        reason: MINER_SLASHED or MINER_EQUIVOCATED.
    """
    miner = run.ledger.get(Miner, state_keys.miner(key))
    assert miner.status is not MinerStatus.SLASHED, "nothing is left to burn"
    coins.burn(run.ledger, miner.bond)
    run.ledger.delete(state_keys.weight(miner.consensus_key))
    run.ledger.delete(state_keys.miner_of(miner.consensus_key))
    if miner.status is MinerStatus.UNBONDING:
        run.ledger.delete(state_keys.unbonding(miner.unbonds_at, key))
    run.emit(reason, key, other=cause, amount=miner.bond, detail=detail)
    _void_commits(run, key)
    slashed = replace(miner, bond=0, status=MinerStatus.SLASHED, unbonds_at=0, open_commits=0)
    run.ledger.put(state_keys.miner(key), slashed)
    _stop_serving(run, key, miner)


def burn_stake(run: Run, key: bytes, stake: int) -> None:
    """Burn what a commit put at stake whose proof never came. Too little left suspends the miner."""
    miner = run.ledger.get(Miner, state_keys.miner(key))
    assert stake <= miner.bond, f"{stake} at stake of a bond of {miner.bond}"
    coins.burn(run.ledger, stake)
    left = replace(miner, bond=miner.bond - stake)
    if miner.status is MinerStatus.ACTIVE and left.bond < run.params.min_bond:
        left = replace(left, status=MinerStatus.SUSPENDED)
        run.emit(
            Reason.MINER_SUSPENDED, key, other=miner.consensus_key, amount=left.bond,
            detail=f"the bond is {left.bond}, the least is {run.params.min_bond}",
        )  # fmt: skip
        run.ledger.put(state_keys.miner(key), left)
        _stop_serving(run, key, miner)
    else:
        run.ledger.put(state_keys.miner(key), left)


def _released_at(run: Run, consensus_key: bytes) -> int:
    """First height at which no evidence of the seats that a key holds now counts any more; 0 without seats.

    It keeps them to the end of the epoch, in the genesis committee to the end of that one's time.
    """
    epoch, params = run.context.epoch, run.params
    if run.ledger.get(Committee, state_keys.committee(epoch)).index_of(consensus_key) is None:
        return 0
    return params.last_height(max(epoch, params.genesis_epochs - 1)) + params.unbonding_blocks + 1


def _void_commits(run: Run, key: bytes) -> None:
    prefix = state_keys.commit_of(key)
    for entry in list(run.ledger.keys(prefix)):
        commit_id = entry[len(prefix) :]
        commit = open_commits.close(run, commit_id)
        run.emit(Reason.COMMIT_VOID, commit_id, other=key, amount=commit.units)
        for task in commit.tasks:
            tasks.give_back(run, task)


def _stop_serving(run: Run, key: bytes, miner: Miner) -> None:
    """No more tasks for the miner; those in its hands go to others."""
    for model in miner.models:
        run.ledger.delete(state_keys.server(model, key))
    prefix = state_keys.assigned(key)
    for entry in list(run.ledger.keys(prefix)):
        tasks.give_back(run, entry[len(prefix) :])


def _check_place(run: Run, sender: bytes, old: Miner | None, body: RegisterMiner) -> int:
    """Check that sender and consensus key are free; returns the bond that is locked already."""
    tied = run.ledger.find_raw(state_keys.miner_of(body.consensus_key))
    if (
        old is not None
        and tied == sender
        and (old.status is MinerStatus.SUSPENDED or (old.status is MinerStatus.ACTIVE and body.bond))
    ):
        return old.bond
    if old is not None and old.status is not MinerStatus.SLASHED:
        raise Refused(
            Reason.ALREADY_REGISTERED, f"the sender is {old.status.name}, tied to {old.consensus_key.hex()}"
        )
    if tied is not None:
        raise Refused(Reason.CONSENSUS_KEY_TAKEN, f"the consensus key is tied to {tied.hex()}")
    conviction = run.ledger.find(Conviction, state_keys.conviction(body.consensus_key))
    if conviction is not None:
        raise Refused(
            Reason.CONSENSUS_KEY_CONVICTED, f"the consensus key was convicted at height {conviction.height}"
        )
    return 0


def _check_models(run: Run, body: RegisterMiner) -> None:
    if any(low >= high for low, high in pairwise(body.models)):
        raise Refused(Reason.BAD_MODEL_LIST, "models are not strictly ascending")
    for model in body.models:
        if run.models.find(model) is None:
            raise Refused(Reason.UNKNOWN_MODEL, f"the chain has no model {model.hex()}")
