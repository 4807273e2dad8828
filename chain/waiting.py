"""A transaction that waits in a mempool, and the order in which a proposer takes such transactions."""

import heapq
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from chain.execution import queries
from chain.state.tree import StateTree
from chain.types.transaction import (
    CommitWork,
    ProveWork,
    RegisterMiner,
    SignedTransaction,
    SubmitTask,
    Transfer,
)

NO_LAST_NONCE: Final = 1 << 64
"""Beyond every nonce."""

RIDERS: Final = 64
"""A sender may fill one part in so many of the room for work with what is not work.

The room is for commits and proofs, but nonces are in order: a proof cannot go before the transfer in front of
it, so some of what is not work must ride along. On a local testnet a part is 8 KB, some 40 transfers or 30
bonds a block. An honest miner sends a few before its proofs and does not notice. One that sends more gets all
through block by block, as a part is used whether work follows in the same block or not. What is larger than a
part, a task with many rows, waits for its turn by tip, and what stands behind it waits too.

A part is each sender's own, so nobody uses up another's. It is not measured by the work behind it: work that
does not fit or cannot pay would vouch for others and never come. To fill the room with what is not work takes
as many bonds as there are parts."""

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

    @property
    def amount(self) -> int:
        """Coins that the body takes from its sender beside the fee."""
        match self.signed.transaction.body:
            case Transfer(amount=amount) | RegisterMiner(bond=amount) | SubmitTask(payment=amount):
                return amount
        return 0

    def fee(self, base_fee: int) -> int:
        """Coins that being in a block costs."""
        return self.weight * (base_fee + self.tip)


@dataclass(frozen=True, slots=True)
class Room:
    """What is left of a block, or of a share of it."""

    bytes: int
    weight: int

    def holds(self, entry: Waiting) -> bool:
        """Whether a transaction still fits."""
        return entry.size <= self.bytes and entry.weight <= self.weight

    def less(self, size: int, weight: int) -> "Room":
        """What is left after so many bytes and so much weight were used."""
        return Room(self.bytes - size, self.weight - weight)

    def part(self, parts: int) -> "Room":
        """One of so many equal parts, rounded down."""
        return Room(self.bytes // parts, self.weight // parts)


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
        self._funds: dict[bytes, int] = {}
        """What such a sender has left after what was chosen of it. What others send it is not counted: at
        worst a transaction waits for one more block."""
        self.chosen: list[SignedTransaction] = []

    def fill(self, last_nonces: Mapping[bytes, int], room: Room, ride: Room) -> Room:
        """Choose from some senders' queues.

        Args:
            last_nonces: By sender, up to which nonce to choose.
            room: For all that is chosen.
            ride: What one sender may use of ``room`` for what is not work.

        Returns:
            What is left of ``room``.
        """
        # The first of a queue stands for its sender until it comes up: most senders are never looked up.
        heads = [
            self._head(sender, self._next.get(sender, min(self._queues[sender]))) for sender in last_nonces
        ]
        offered = [head for head in heads if head is not None]
        heapq.heapify(offered)
        rides: dict[bytes, Room] = {}
        misfits = 0
        while offered and misfits < _MISFITS:
            _, _, sender, nonce = heapq.heappop(offered)
            due = self._due(sender)
            entry = self._queues[sender][nonce]
            if nonce == due and self._can_pay(entry) and nonce <= last_nonces[sender]:
                if not room.holds(entry):
                    misfits += 1
                    continue
                if not entry.is_work:
                    left = rides.get(sender, ride)
                    if not left.holds(entry):
                        continue
                    rides[sender] = left.less(entry.size, entry.weight)
                room = room.less(entry.size, entry.weight)
                self._choose(entry)
                due = nonce + 1
            elif nonce == due:
                continue
            head = self._head(sender, due)
            if head is not None:
                heapq.heappush(offered, head)
        return room

    def _due(self, sender: bytes) -> int:
        if sender not in self._next:
            account = queries.account(self._state, sender)
            self._next[sender], self._funds[sender] = account.nonce, account.balance
        return self._next[sender]

    def _choose(self, entry: Waiting) -> None:
        transaction = entry.signed.transaction
        self.chosen.append(entry.signed)
        left = self._funds[transaction.sender] - entry.fee(self._base_fee)
        # A body that asks for more than there is is refused and takes nothing.
        self._funds[transaction.sender] = left - entry.amount if entry.amount <= left else left
        self._next[transaction.sender] = transaction.nonce + 1

    def _can_pay(self, entry: Waiting) -> bool:
        transaction = entry.signed.transaction
        return (
            transaction.max_base_fee >= self._base_fee
            and entry.fee(self._base_fee) <= self._funds[transaction.sender]
        )

    def _head(self, sender: bytes, nonce: int) -> tuple[int, int, bytes, int] | None:
        """A sender's transaction of a nonce, as a heap orders it; None where there is a gap."""
        entry = self._queues[sender].get(nonce)
        return None if entry is None else (-entry.tip, entry.arrival, sender, nonce)
