"""The end of an epoch: proven weight becomes the next committee, and what is too old to matter is dropped."""

from collections.abc import Callable

from chain.execution import state_keys
from chain.execution.evidence import oldest_epoch
from chain.execution.records import Conviction, Miner, MinerStatus, Weight
from chain.execution.run import Run
from chain.reasons import Reason
from chain.seats import apportion_seats
from chain.types.committee import Committee, Validator


def credit_units(run: Run, consensus_key: bytes, units: int) -> None:
    """Count proven units for a consensus key in the current epoch."""
    key = state_keys.weight(consensus_key)
    weight = run.ledger.find(Weight, key) or Weight(())
    credited = weight.credited(run.context.epoch, units, window=run.params.averaging_window)
    run.ledger.put(key, credited)


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

    Genesis validators need not be miners, so a key that no miner stands for is as good as any.
    """
    miner = run.ledger.find(Miner, state_keys.miner(validator.payout))
    is_its_own = miner is not None and miner.consensus_key == validator.consensus_key
    is_active = miner is not None and miner.status is MinerStatus.ACTIVE
    return not _is_convicted(run, validator) and (is_active or not is_its_own)


def _window_weights(run: Run) -> dict[bytes, tuple[bytes, int]]:
    """Miner and weight of every active key over the window that ends now; empty weights are dropped."""
    first = max(0, run.context.epoch + 1 - run.params.averaging_window)
    prefix = state_keys.weight()
    weights: dict[bytes, tuple[bytes, int]] = {}
    for entry in list(run.ledger.keys(prefix)):
        consensus_key = entry[len(prefix) :]
        weight = run.ledger.get(Weight, entry).since(first)
        if weight == 0:
            run.ledger.delete(entry)
            continue
        miner = run.ledger.get_raw(state_keys.miner_of(consensus_key))
        if run.ledger.get(Miner, state_keys.miner(miner)).status is MinerStatus.ACTIVE:
            weights[consensus_key] = (miner, weight)
    return weights
