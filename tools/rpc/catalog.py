"""Every method that a node answers."""

import functools
from typing import Final

from tools.rpc.methods import accounts, chain, transactions
from tools.rpc.registry import Registry

_FUNCTIONS: Final = (
    chain.status,
    chain.params,
    chain.block,
    chain.committee,
    chain.peers,
    chain.mempool,
    accounts.account,
    accounts.nonce,
    transactions.transaction,
    transactions.send_transaction,
)


@functools.cache
def registry() -> Registry:
    """The methods, compiled once."""
    return Registry(_FUNCTIONS)
