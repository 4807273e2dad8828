"""What became of everything that a block touched.

Only codes, subjects and amounts enter the header's root. A detail is a sentence for people: two versions of
the software may word it differently and still agree on the block.
"""

from dataclasses import dataclass
from typing import Annotated, Final

from chain.codec import U64, AtMost, Hash32, encode
from chain.hashing import digest, merkle_root
from chain.reasons import Reason
from chain.types.block import MAX_TRANSACTIONS

MAX_EVENTS: Final = 1 << 20
MAX_DETAIL_BYTES: Final = 200


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
    detail: Annotated[str, AtMost(MAX_DETAIL_BYTES)]
    """A sentence with the values at hand; never parsed, and not committed to."""

    @property
    def leaf(self) -> bytes:
        """The event's part in the header's root."""
        return encode(_undetailed(self))


@dataclass(frozen=True, slots=True)
class Receipt:
    """Outcome of one transaction."""

    transaction: Hash32
    reason: Reason
    """`Reason.OK`, or why nothing but the fee was taken."""
    weight: U64
    fee: U64
    events: Annotated[tuple[Event, ...], AtMost(MAX_EVENTS)]

    @property
    def leaf(self) -> bytes:
        """The receipt's part in the header's root."""
        events = tuple(_undetailed(event) for event in self.events)
        return encode(Receipt(self.transaction, self.reason, self.weight, self.fee, events))


@dataclass(frozen=True, slots=True)
class BlockOutcome:
    """Receipts of a block's transactions, and what the block did of itself: deadlines, assignments, seats."""

    receipts: Annotated[tuple[Receipt, ...], AtMost(MAX_TRANSACTIONS)]
    """One a transaction, in the block's order."""
    opening: Annotated[tuple[Event, ...], AtMost(MAX_EVENTS)]
    """Before the first transaction."""
    closing: Annotated[tuple[Event, ...], AtMost(MAX_EVENTS)]
    """After the last one."""

    @property
    def root(self) -> bytes:
        """What the header commits to."""
        return digest(
            "headrace/outcome",
            merkle_root("headrace/opening", [event.leaf for event in self.opening]),
            merkle_root("headrace/receipts", [receipt.leaf for receipt in self.receipts]),
            merkle_root("headrace/closing", [event.leaf for event in self.closing]),
        )


def _undetailed(event: Event) -> Event:
    return Event(event.reason, event.subject, event.other, event.amount, "")
