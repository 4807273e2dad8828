"""The end of an epoch: proven weight becomes the next committee, and what is too old to matter is dropped."""

from collections.abc import Callable

from chain.execution import state_keys
from chain.execution.evidence import oldest_epoch
from chain.execution.records import Conviction, Miner, MinerStatus, Weight
from chain.execution.run import Run
from chain.reasons import Reason
from chain.seats import apportion_seats
from chain.types.committee import Committee, Validator


def credit_units(run: Run, consensus_key: bytes, units: int) -> int:
    """Count proven units for a consensus key; the epoch that they count for.

    Who leads an epoch's last block knows the beacon that draws the next committee before it chooses what is
    in the block. So what is proven there counts for the next epoch, and moves no weight that is drawn from.
    """
    height, epoch = run.context.height, run.context.epoch
    counts_for = epoch + 1 if height == run.params.last_height(epoch) else epoch
    key = state_keys.weight(consensus_key)
    weight = run.ledger.find(Weight, key) or Weight(())
    run.ledger.put(key, weight.credited(counts_for, units, window=run.params.averaging_window))
    return counts_for


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
    weights = _window_weights(run)
    if upcoming < run.params.genesis_epochs:
        run.emit(Reason.COMMITTEE_FROM_GENESIS, b"", amount=upcoming)
        return _staying(current, lambda validator: not _is_convicted(run, validator))
    seated = {key: entry for key, entry in weights.items() if entry[1] > 0}
    if not seated:
        run.emit(Reason.COMMITTEE_KEPT, b"", amount=upcoming)
        return _staying(current, lambda validator: _is_in_good_standing(run, validator))
    seats = apportion_seats(
        {key: weight for key, (_, weight) in seated.items()},
        seats=run.params.committee_size,
        beacon=run.context.beacon,
    )
    validators = []
    for key, count in seats.items():
        miner, weight = seated[key]
        validators.append(Validator(key, miner, count))
        run.emit(
            Reason.SEATS_APPORTIONED, key, other=miner, amount=count,
            detail=f"for {weight} units, in epoch {upcoming}",
        )  # fmt: skip
    return Committee(tuple(validators))


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


def _window_weights(run: Run) -> dict[bytes, tuple[bytes, int]]:
    """Miner and weight of every active key over the window that ends now; empty weights are dropped."""
    last = run.context.epoch
    first = max(0, last + 1 - run.params.averaging_window)
    prefix = state_keys.weight()
    weights: dict[bytes, tuple[bytes, int]] = {}
    for entry in list(run.ledger.keys(prefix)):
        consensus_key = entry[len(prefix) :]
        record = run.ledger.get(Weight, entry)
        if record.since(first) == 0:
            run.ledger.delete(entry)
            continue
        weight = record.within(first, last)
        miner = run.ledger.get_raw(state_keys.miner_of(consensus_key))
        if run.ledger.get(Miner, state_keys.miner(miner)).status is MinerStatus.ACTIVE:
            weights[consensus_key] = (miner, weight)
    return weights
