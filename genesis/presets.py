"""Networks that come with the client."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from chain.types.committee import Committee, Validator
from chain.types.params import ChainParams
from genesis.commons import BATCH, commons
from genesis.document import Balance, GenesisDocument
from genesis.registry import digits_model

COIN: Final = 1_000_000
"""Base units in one coin; every amount on the chain is in base units."""

LOCAL_PARAMS: Final = ChainParams(
    chain_id="headrace-local",
    address_prefix="hrl",
    epoch_length=40,  # some 25 s: seats follow work while a developer watches
    committee_size=64,
    averaging_window=6,  # two minutes: long enough that no equal miner drifts to a third of the seats
    genesis_epochs=2,
    block_interval_ms=500,
    network_delay_ms=500,  # generous: eight processes share two cores
    max_block_bytes=1 << 20,
    max_transaction_bytes=1 << 18,
    base_fee_floor=1,
    target_block_weight=1 << 19,
    cell_weight=100,
    min_bond=220 * COIN,  # four full commits put 215 coins at stake
    unbonding_blocks=160,
    missed_proof_penalty=5 * COIN,
    commons_batch=BATCH,
    max_commons_units=64,
    round_length=5,  # the commons model takes a step every three seconds
    max_open_commits=4,
    reward_per_million_units=2_000,
    samples=64,
    beacon_delay=3,
    proof_window=60,  # a killed node has half a minute to come back and prove
    task_deadline=30,
    max_task_attempts=5,
    max_task_rows=1024,
    price_per_million_units=100_000,
    task_retention=20_000,
)
"""A testnet on one machine: final blocks in about half a second, a new committee every 40 blocks."""


def local_testnet_genesis(
    *,
    validators: Sequence[tuple[bytes, bytes]],
    balances: Mapping[bytes, int],
    timestamp_ms: int,
) -> GenesisDocument:
    """The genesis of a local testnet whose first committee shares its seats evenly.

    Args:
        validators: (consensus key, payout account) of each, at most `LOCAL_PARAMS.committee_size`.
        balances: Base units by account key.
        timestamp_ms: Milliseconds since 1970 of height 0. It is part of the chain's id: two testnets with the
            same keys must not take each other's signatures for their own.
    """
    share, extra = divmod(LOCAL_PARAMS.committee_size, len(validators))
    ordered = sorted(validators)
    committee = Committee(
        tuple(
            Validator(key, payout, share + (1 if index < extra else 0))
            for index, (key, payout) in enumerate(ordered)
        )
    )
    return GenesisDocument(
        params=replace(LOCAL_PARAMS, chain_id=f"{LOCAL_PARAMS.chain_id}-{timestamp_ms:x}"),
        timestamp_ms=timestamp_ms,
        balances=tuple(Balance(account, amount) for account, amount in sorted(balances.items())),
        committee=committee,
        models=tuple(sorted((digits_model().id, commons().id))),
        commons_model=commons().id,
    )
