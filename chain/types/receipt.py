"""What became of everything that a block touched."""

from dataclasses import dataclass
from typing import Annotated

from chain.codec import U64, AtMost, Hash32, encode
from chain.hashing import merkle_root
from chain.reasons import Reason

MAX_EVENTS = 1 << 16


@dataclass(frozen=True, slots=True)
class Event:
    """One line of somebody's story: what happened to a subject, and by how much."""

    reason: Reason
    subject: Annotated[bytes, AtMost(32)]
    """A transaction, task, commit, account, miner or consensus key."""
    other: Annotated[bytes, AtMost(32)]
    """The other party, or empty."""
    amount: U64
    """Coins, units, seats or a height, as the reason says."""
    detail: Annotated[str, AtMost(200)]
    """A sentence with the values at hand; never parsed."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """Outcome of one transaction."""

    transaction: Hash32
    reason: Reason
    """`Reason.OK`, or why nothing but the fee was taken."""
    weight: U64
    fee: U64
    events: Annotated[tuple[Event, ...], AtMost(MAX_EVENTS)]


@dataclass(frozen=True, slots=True)
class BlockOutcome:
    """Receipts of a block's transactions, and what the block did of itself (deadlines, assignments, seats)."""

    receipts: Annotated[tuple[Receipt, ...], AtMost(1 << 14)]
    opening: Annotated[tuple[Event, ...], AtMost(MAX_EVENTS)]
    """Before the first transaction."""
    closing: Annotated[tuple[Event, ...], AtMost(MAX_EVENTS)]
    """After the last one."""

    @property
    def root(self) -> bytes:
        """What the header commits to."""
        leaves = [encode(item) for item in (*self.receipts, *self.opening, *self.closing)]
        return merkle_root("headrace/receipts", leaves)
