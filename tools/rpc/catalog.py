"""Every method that a node answers."""

import functools
from typing import Final

from tools.rpc.methods import (
    accounts,
    chain,
    commons,
    evidence,
    genesis,
    market,
    proofs,
    story,
    transactions,
    work,
)
from tools.rpc.registry import Registry

_FUNCTIONS: Final = (
    accounts.account,
    accounts.nonce,
    chain.block,
    chain.committee,
    chain.mempool,
    chain.params,
    chain.peers,
    chain.status,
    commons.commons,
    commons.commons_checkpoint,
    evidence.evidence,
    genesis.genesis,
    market.models,
    market.quote,
    market.task,
    proofs.prove_balance,
    story.why,
    transactions.send_transaction,
    transactions.transaction,
    work.miner_work,
    work.miners,
    work.possession,
)


@functools.cache
def registry() -> Registry:
    """The methods, compiled once."""
    return Registry(_FUNCTIONS, local_only=["possession"])
