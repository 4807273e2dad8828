"""Accounts and their coins."""

from chain.codec import U64
from chain.execution import queries
from tools.rpc.messages import AccountView
from tools.rpc.view import NodeView
from tools.rpc.wire import Address


def account(node: NodeView, address: Address) -> AccountView:
    """An account in the last final state; one that nobody has used is empty."""
    found = queries.account(node.state, address)
    return AccountView(
        address=address,
        public_key=address,
        height=node.head.height,
        balance=found.balance,
        nonce=found.nonce,
        next_nonce=node.mempool.next_nonce(address, found.nonce),
    )


def nonce(node: NodeView, address: Address) -> U64:
    """The nonce of an account's next transaction, behind those that wait in this node's mempool."""
    return account(node, address).next_nonce
