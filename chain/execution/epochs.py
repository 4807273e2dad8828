"""The end of an epoch: proven weight becomes the next committee, and what is too old to matter is dropped.

```
 ... ──► miners are weighed ──► beacon_delay beacons that nobody knows yet ──► the last one draws the seats
```

Who knows a beacon and still chooses what is in a block could choose whose weights are drawn from: with many
small keys, whom to take away so that the points fall on the others. So the miners are weighed before, and
what they do in between can cost them their seats but moves nobody else's.
"""

from collections.abc import Callable

from chain.execution import state_keys
from chain.execution.evidence import oldest_epoch
from chain.execution.records import Candidate, Conviction, Miner, MinerStatus, Weight
from chain.execution.run import Run
from chain.reasons import Reason
from chain.seats import apportion_seats
from chain.types.committee import Committee, Validator


def credit_units(run: Run, consensus_key: bytes, units: int) -> int:
    """Count proven units for a consensus key; returns the epoch that they count for."""
    height, epoch = run.context.height, run.context.epoch
    # Once the miners are weighed, the epoch's committee is settled but for the draw.
    counts_for = epoch + 1 if height >= run.params.weighed_at(epoch) else epoch
    key = state_keys.weight(consensus_key)
    weight = run.ledger.find(Weight, key) or Weight(())
    run.ledger.put(key, weight.credited(counts_for, units, window=run.params.averaging_window))
    return counts_for


def weigh_miners(run: Run) -> None:
    """In the opening of a block near an epoch's end: note the weight of each active key over the window.

    Weights that are empty are dropped.
    """
    last = run.context.epoch
    assert run.context.height == run.params.weighed_at(last), "miners are weighed once an epoch"
    first = max(0, last + 1 - run.params.averaging_window)
    prefix = state_keys.weight()
    for entry in list(run.ledger.keys(prefix)):
        consensus_key = entry[len(prefix) :]
        record = run.ledger.get(Weight, entry)
        if record.since(first) == 0:
            run.ledger.delete(entry)
            continue
        weight = record.within(first, last)
        miner = run.ledger.get_raw(state_keys.miner_of(consensus_key))
        if weight and run.ledger.get(Miner, state_keys.miner(miner)).status is MinerStatus.ACTIVE:
            run.ledger.put(state_keys.candidate(consensus_key), Candidate(miner, weight))


def close_epoch(run: Run) -> None:
    """In the last block of an epoch: seat the next committee, drop what is too old."""
    epoch = run.context.epoch
    assert run.context.height == run.params.last_height(epoch), "an epoch closes in its last block"
    current = run.ledger.get(Committee, state_keys.committee(epoch))
    run.ledger.put(state_keys.committee(epoch + 1), _next_committee(run, current))
    # As epochs pass one by one, one committee at most falls out of those whose evidence still counts.
    forgotten = min(oldest_epoch(run.context.height + 1, params=run.params), epoch) - 1
    if forgotten >= 0:
        run.ledger.delete(state_keys.committee(forgotten))


def _next_committee(run: Run, current: Committee) -> Committee:
    upcoming = run.context.epoch + 1
    candidates = _take_candidates(run)
    if upcoming < run.params.genesis_epochs:
        run.emit(Reason.COMMITTEE_FROM_GENESIS, b"", amount=upcoming)
        return _staying(current, lambda validator: not _is_convicted(run, validator))
    validators = _drawn(run, candidates) if candidates else []
    if not validators:
        run.emit(Reason.COMMITTEE_KEPT, b"", amount=upcoming)
        return _staying(current, lambda validator: _is_in_good_standing(run, validator))
    return Committee(tuple(validators))


def _take_candidates(run: Run) -> dict[bytes, Candidate]:
    """Those who were weighed, by consensus key; they are weighed anew for the epoch after."""
    prefix = state_keys.candidate()
    candidates: dict[bytes, Candidate] = {}
    for entry in list(run.ledger.keys(prefix)):
        candidates[entry[len(prefix) :]] = run.ledger.get(Candidate, entry)
        run.ledger.delete(entry)
    return candidates


def _drawn(run: Run, candidates: dict[bytes, Candidate]) -> list[Validator]:
    """Who gets seats. Those of a key that lost its standing since it was weighed stay empty."""
    seats = apportion_seats(
        {key: candidate.weight for key, candidate in candidates.items()},
        seats=run.params.committee_size,
        beacon=run.context.beacon,
    )
    validators = []
    for key, count in seats.items():
        candidate = candidates[key]
        validator = Validator(key, candidate.miner, count)
        is_seated = _may_be_seated(run, validator)
        if is_seated:
            validators.append(validator)
        run.emit(
            Reason.SEATS_APPORTIONED if is_seated else Reason.SEATS_FORFEITED,
            key, other=candidate.miner, amount=count,
            detail=f"for {candidate.weight} units, in epoch {run.context.epoch + 1}",
        )  # fmt: skip
    return validators


def _staying(committee: Committee, stays: Callable[[Validator], bool]) -> Committee:
    """A committee that stays, less those that must go; all of it if nobody would be left.

    A chain without a committee is a chain that stands still.
    """
    staying = tuple(validator for validator in committee.validators if stays(validator))
    return Committee(staying) if staying else committee


def _is_convicted(run: Run, validator: Validator) -> bool:
    return run.ledger.find(Conviction, state_keys.conviction(validator.consensus_key)) is not None


def _is_in_good_standing(run: Run, validator: Validator) -> bool:
    """Whether a validator is not known to be slashed, suspended, convicted or on its way out.

    Genesis validators need not be miners, so a key whose account was never one is as good as any. An account
    that registers under another key, after it was slashed perhaps, has left the old one.
    """
    miner = run.ledger.find(Miner, state_keys.miner(validator.payout))
    is_there = miner is None or (
        miner.consensus_key == validator.consensus_key and miner.status is MinerStatus.ACTIVE
    )
    return is_there and not _is_convicted(run, validator)


def _may_be_seated(run: Run, validator: Validator) -> bool:
    """Whether a validator is in good standing, and is a miner: a bond stands behind it."""
    is_miner = run.ledger.find(Miner, state_keys.miner(validator.payout)) is not None
    return is_miner and _is_in_good_standing(run, validator)
