"""Reading the final chain: blocks, outcomes, certificates, committees, indices, and the state of the head."""

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Final

from chain.database.interface import CorruptionError, Database
from chain.layout import (
    BODY,
    CERTIFICATE,
    COMMITTEE,
    HEADER,
    HEIGHT_OF_BLOCK,
    JOURNAL,
    OUTCOME,
    PLACE_OF_TRANSACTION,
    PROPOSED,
    UNDO,
    Body,
    Meta,
    Place,
    Proposed,
    Sealed,
    Undo,
    found,
    number,
    required,
    stored,
    subject_prefix,
)
from chain.state.tree import StateTree
from chain.types.block import Block, Header, transactions_root
from chain.types.committee import Committee
from chain.types.receipt import BlockOutcome, Event

_PAIR: Final = b"\x92"
"""The head of a msgpack array of two: a block is its header and its transactions, one behind the other."""


class ChainReader:
    """The final chain as it is on disk. `chain.store.BlockStore` adds the writing."""

    def __init__(self, database: Database, meta: Meta, *, head: Header, state: StateTree) -> None:
        self._database = database
        self._meta = meta
        self.head = head
        """Header of the last final block."""
        self.state = state
        """State after the last final block."""

    @property
    def first(self) -> int:
        """Least height from 1 on whose block is here; the head's successor if there is none yet."""
        return self._meta.first

    def block(self, height: int) -> Block | None:
        """The final block at a height; None below `first`, where at most its header is left."""
        body = found(Body, self._database, BODY + number(height))
        header = None if body is None else self._header_beside(height)
        if body is None or header is None:
            return None
        return Block(stored(Header, header), body.transactions)

    def encoded_block(self, height: int) -> bytes | None:
        """What `block` gives, as it is encoded: nothing is decoded on the way."""
        body = self._database.get(BODY + number(height))
        header = None if body is None else self._header_beside(height)
        if body is None or header is None:
            return None
        return _PAIR + header + body[1:]

    def header(self, height: int) -> Header | None:
        """The final header at a height, without reading the block."""
        return found(Header, self._database, HEADER + number(height))

    def outcome(self, height: int) -> BlockOutcome | None:
        """What became of the transactions of the block at a height."""
        return found(BlockOutcome, self._database, OUTCOME + number(height))

    def finalization(self, height: int) -> bytes | None:
        """The encoded certificate that finalized exactly this height, if one did."""
        sealed = found(Sealed, self._database, CERTIFICATE + number(height))
        return None if sealed is None else sealed.encoded

    def committee(self, epoch: int) -> Committee | None:
        """The committee of an epoch that has begun or is about to."""
        return found(Committee, self._database, COMMITTEE + number(epoch))

    def next_finalization(self, height: int) -> tuple[int, bytes] | None:
        """The first height from `height` on that has a certificate of its own, with that certificate."""
        own = self.finalization(height)
        if own is not None:
            return height, own
        for key, raw in self._database.iterate(prefix=CERTIFICATE, start=CERTIFICATE + number(height)):
            return int.from_bytes(key[1:], "big"), stored(Sealed, raw).encoded
        return None

    def height_of(self, block: bytes) -> int | None:
        """Height of the final block with this digest."""
        raw = self._database.get(HEIGHT_OF_BLOCK + block)
        return None if raw is None else int.from_bytes(raw, "big")

    def find_transaction(self, transaction: bytes) -> tuple[int, int] | None:
        """Height and index of a final transaction."""
        place = found(Place, self._database, PLACE_OF_TRANSACTION + transaction)
        return None if place is None else (place.height, place.index)

    def events_about(self, subject: bytes, *, limit: int = 1000) -> list[tuple[int, Event]]:
        """The latest events that name `subject`, oldest first, each with its height.

        The fees burned in a proposer's blocks are not among them; see `proposed_by`.
        """
        prefix = subject_prefix(subject)
        latest = islice(self._database.iterate(prefix=prefix, reverse=True), limit)
        size = len(prefix)
        events = [(int.from_bytes(key[size : size + 8], "big"), stored(Event, raw)) for key, raw in latest]
        return events[::-1]

    def proposed_by(self, consensus_key: bytes) -> Proposed | None:
        """How many blocks of a proposer burned fees, and how much."""
        line = found(Proposed, self._database, PROPOSED + consensus_key)
        return line if line is not None and line.blocks else None

    def state_at(self, height: int) -> StateTree | None:
        """The state after an earlier block; None if it cannot be taken back so far."""
        if height == self.head.height:
            return self.state
        return next((state for at, state in self.states_back() if at == height), None)

    def states_back(self) -> Iterator[tuple[int, StateTree]]:
        """Heights below the head and the states after them, downward, as far as undo records reach."""
        state = self.state
        for above in range(self.head.height, 0, -1):
            undo = found(Undo, self._database, UNDO + number(above))
            if undo is None:
                return
            state = state.updated(undo.changes)
            yield above - 1, state

    def least_back(self) -> int:
        """The least height that the chain can be taken back to; the head's if to none below it."""
        least = self.head.height
        for height, _ in self.states_back():
            if height < self.first - 1 or self.header(height) is None:
                break
            if height == 0 or self.finalization(height) is not None:
                least = height
        return least

    def load_journal(self) -> Iterator[tuple[bytes, bytes]]:
        """All journal records, ascending by key."""
        for key, value in self._database.iterate(prefix=JOURNAL):
            yield key[len(JOURNAL) :], value

    def check(self, start: int = 0, *, progress: Callable[[int], None] = lambda _: None) -> None:
        """Walk heights `start` to head: hash chain, roots of bodies and outcomes, and the head's state.

        Raises:
            CorruptionError: The first thing that does not fit.
        """
        before = self.header(max(start, self.first) - 1)
        previous = None if before is None else before.digest
        for height in range(max(start, self.first), self.head.height + 1):
            header = stored(Header, required(self._database, HEADER + number(height)))
            body = stored(Body, required(self._database, BODY + number(height)))
            outcome = stored(BlockOutcome, required(self._database, OUTCOME + number(height)))
            if header.height != height or (previous is not None and header.parent != previous):
                raise CorruptionError(f"the block stored at height {height} does not follow the one below it")
            if header.transactions_root != transactions_root(body.transactions):
                raise CorruptionError(
                    f"the transactions at height {height} are not the ones its header names"
                )
            if header.receipts_root != outcome.root:
                raise CorruptionError(f"the outcome at height {height} is not the one its header names")
            previous = header.digest
            progress(height)
        if self.state.root != self.head.state_root:
            raise CorruptionError(
                f"state root {self.state.root.hex()}, the head has {self.head.state_root.hex()}"
            )

    def _header_beside(self, height: int) -> bytes | None:
        """The header of a body that was just read; None if the block has been forgotten in between.

        Raises:
            CorruptionError: It must be there, and is not.
        """
        raw = self._database.get(HEADER + number(height))
        if raw is None and not 0 < height < self.first:
            raise CorruptionError(f"the header of height {height} is missing")
        return raw
