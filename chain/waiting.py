"""A transaction that waits in a mempool, and the order in which a proposer takes such transactions."""

import heapq
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from chain.execution import queries
from chain.state.tree import StateTree
from chain.types.transaction import CommitWork, ProveWork, SignedTransaction

NO_LAST_NONCE: Final = 1 << 64
"""Beyond every nonce."""

_MISFITS: Final = 100
"""Transactions too large for what room is left that are passed over before the block counts as full."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A transaction with what was computed of it once."""

    signed: SignedTransaction
    id: bytes
    size: int
    """Bytes."""
    weight: int
    arrival: int
    """Place in the order of arrival."""

    @property
    def tip(self) -> int:
        """Coins per unit of weight for the proposer."""
        return self.signed.transaction.tip

    @property
    def is_work(self) -> bool:
        """Whether it is a commit or a proof."""
        return isinstance(self.signed.transaction.body, CommitWork | ProveWork)


Queue = dict[int, Waiting]
"""One sender's transactions by nonce, with gaps."""


class Selection:
    """A block's worth of transactions: the best next one of any sender, again and again."""

    def __init__(self, state: StateTree, queues: Mapping[bytes, Queue]) -> None:
        """Begin with nothing chosen.

        Args:
            state: After the parent of the block.
            queues: By sender, none of them empty.
        """
        self._state = state
        self._queues = queues
        self._base_fee = queries.head(state).next_base_fee
        self._next: dict[bytes, int] = {}
        """Due nonce of each sender that was looked at closely."""
        self.chosen: list[SignedTransaction] = []

    def fill(self, last_nonces: Mapping[bytes, int], room: int) -> int:
        """Choose from some senders' queues, each up to a nonce, within ``room`` bytes; returns bytes used."""
        # The first of a queue stands for its sender until it comes up: most senders are never looked up.
        heads = [
            self._head(sender, self._next.get(sender, min(self._queues[sender]))) for sender in last_nonces
        ]
        offered = [head for head in heads if head is not None]
        heapq.heapify(offered)
        used = misfits = 0
        while offered and misfits < _MISFITS:
            _, _, sender, nonce = heapq.heappop(offered)
            if sender not in self._next:
                self._next[sender] = queries.account(self._state, sender).nonce
            due = self._next[sender]
            entry = self._queues[sender][nonce]
            if nonce == due and self._can_pay(entry) and nonce <= last_nonces[sender]:
                if used + entry.size > room:
                    misfits += 1
                    continue
                self.chosen.append(entry.signed)
                used += entry.size
                due = self._next[sender] = nonce + 1
            elif nonce == due:
                continue
            head = self._head(sender, due)
            if head is not None:
                heapq.heappush(offered, head)
        return used

    def _can_pay(self, entry: Waiting) -> bool:
        return entry.signed.transaction.max_base_fee >= self._base_fee

    def _head(self, sender: bytes, nonce: int) -> tuple[int, int, bytes, int] | None:
        """A sender's transaction of a nonce, as a heap orders it; None where there is a gap."""
        entry = self._queues[sender].get(nonce)
        return None if entry is None else (-entry.tip, entry.arrival, sender, nonce)
