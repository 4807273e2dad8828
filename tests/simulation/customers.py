"""People who use the chain: transfers and tasks, and every now and then something that must not be let in."""

from dataclasses import replace
from typing import TYPE_CHECKING

from chain.execution import queries
from chain.types.transaction import (
    Body,
    SignedTransaction,
    SubmitTask,
    Transaction,
    Transfer,
    sign_transaction,
)
from tests.chain.execution.world import inputs_of
from tests.simulation.keys import customer_key, miner_key
from tests.simulation.tiny_work import MODEL

if TYPE_CHECKING:
    from tests.simulation.node import Node
    from tests.simulation.world import World

CUSTOMERS = 3
MAX_BASE_FEE = 1 << 20
_EVERY_MS = (2000, 6000)


class Customers:
    """All of them, at whichever node is up."""

    def __init__(self, world: "World") -> None:
        self._world, self._rng = world, world.rng
        self._sent: list[SignedTransaction] = []

    def start(self) -> None:
        self._world.at(self._world.now + self._rng.randrange(*_EVERY_MS), self._act)

    def _act(self) -> None:
        self.start()
        up = [node for node in self._world.nodes if node.is_up]
        if not up:
            return
        node, who = self._rng.choice(up), self._rng.randrange(CUSTOMERS)
        draw = self._rng.random()
        if draw < 0.2 and self._sent:
            self._world.gossip(node, self._mischief(self._rng.choice(self._sent)))
            return
        body: Body = (
            Transfer(miner_key(self._rng.randrange(4)).public_key, self._rng.randrange(1, 50))
            if draw < 0.75
            else SubmitTask(MODEL, 2, inputs_of(2, salt=self._rng.randrange(17)), 100)
        )
        signed = self._signed(node, who, body)
        self._sent = [*self._sent[-30:], signed]
        self._world.gossip(node, signed)

    def _signed(self, node: "Node", who: int, body: Body) -> SignedTransaction:
        key = customer_key(who)
        nonce = queries.account(node.ledger.state, key.public_key).nonce
        nonce = node.ledger.mempool.next_nonce(key.public_key, nonce)
        tip = self._rng.randrange(4)
        transaction = Transaction(self._world.params.chain_id, key.public_key, nonce, MAX_BASE_FEE, tip, body)
        return sign_transaction(transaction, key)

    def _mischief(self, old: SignedTransaction) -> SignedTransaction:
        """Once more the same, with somebody else's signature, of another chain, or by a poor stranger."""
        transaction = old.transaction
        choice = self._rng.randrange(4)
        if choice == 0:
            return old
        if choice == 1:
            nonce = transaction.nonce + self._rng.randrange(3)
            return SignedTransaction(replace(transaction, nonce=nonce), old.signature)
        key = customer_key(CUSTOMERS + choice)
        if choice == 2:
            return sign_transaction(replace(transaction, sender=key.public_key, nonce=0), key)
        owner = next(k for k in map(customer_key, range(CUSTOMERS)) if k.public_key == transaction.sender)
        return sign_transaction(replace(transaction, chain_id="another"), owner)
