"""The state that height 1 builds on."""

from collections.abc import Mapping

from chain.codec import encode
from chain.execution import coins, state_keys
from chain.execution.models import Commons
from chain.execution.records import Account, Head, Supply
from chain.execution.training import open_training
from chain.state.tree import StateTree
from chain.types.committee import Committee
from chain.types.params import ChainParams


def open_genesis_state(
    *,
    params: ChainParams,
    balances: Mapping[bytes, int],
    committee: Committee,
    beacon: bytes,
    commons: Commons,
) -> StateTree:
    """The state at height 0.

    Args:
        params: The chain's rules.
        balances: Coins by account.
        committee: Votes on the first epoch, and on later ones as long as `genesis_epochs` says.
        beacon: The first one, 32 bytes: seed of the first round.
        commons: The model that the chain trains.

    Raises:
        ValueError: The balances add up to more than there may be coins.
    """
    total = sum(balances.values())
    if total > coins.MAX_SUPPLY:
        raise ValueError(f"the balances add up to {total}, at most {coins.MAX_SUPPLY} coins can be")
    entries: dict[bytes, bytes | None] = {
        state_keys.account(key): encode(Account(amount, 0)) for key, amount in balances.items() if amount
    }
    entries[state_keys.SUPPLY] = encode(Supply(total, 0, 0))
    entries[state_keys.HEAD] = encode(Head(0, beacon, params.base_fee_floor))
    entries[state_keys.beacon(0)] = beacon
    entries[state_keys.committee(0)] = encode(committee)
    entries |= open_training(commons, beacon=beacon)
    return StateTree.empty().updated(entries)
