"""The final chain on disk: blocks, outcomes, certificates, indices and the state, one atomic batch a block.

Only final things are written here; speculation lives in memory and is lost without harm. The state is kept as
its plain entries, and the authenticated tree over them is built again at start and must give the head's state
root.

Invariant: after every batch the database holds heights `first` to head without a hole, each with block and
outcome, the last header, certificate and committee of every epoch below, and the state of exactly the head.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from chain.batches import block_records, clearing, ends_epoch, ends_records, fees_burned, undo_of
from chain.codec import encode
from chain.database.interface import CorruptionError, Database
from chain.layout import (
    CERTIFICATE,
    COMMITTEE,
    FORMAT,
    HEADER,
    HEIGHT_OF_BLOCK,
    JOURNAL,
    META,
    PROPOSED,
    UNDO,
    Changes,
    Meta,
    Proposed,
    Undo,
    found,
    number,
    required,
    state_prefix,
    stored,
)
from chain.reader import ChainReader
from chain.staging import Staging, load_entries
from chain.state.tree import StateTree
from chain.types.block import Block, Header
from chain.types.committee import Committee
from chain.types.receipt import BlockOutcome

CHECKED_AT_START: Final = 1000
"""Heights whose hash chain is walked at every start; a hole in the middle shows up here."""

UNDO_BLOCKS: Final = 1024
"""Newest blocks that can be taken back, unless the caller says otherwise."""


class ForeignDatabase(Exception):  # noqa: N818 - reads as a sentence where it is caught
    """The database is whole but not this chain's: the operator mixed up folders, files or versions."""


class TooFarBack(ValueError):  # noqa: N818 - reads as a sentence where it is caught
    """What would take the state back so far is not kept."""


@dataclass(frozen=True, slots=True)
class FinalBlock:
    """A final block with everything that is written with it."""

    block: Block
    outcome: BlockOutcome
    changes: Mapping[bytes, bytes | None]
    """State entries that executing the block wrote, or deleted (None)."""
    certificate: bytes | None
    """The encoded finalization that names this very block, if there is one."""
    next_committee: Committee | None = None
    """Of the next epoch, with an epoch's last block; strangers ask for it long after the state forgot it."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Blocks that are about to be final, ready to be written."""

    changes: Changes
    head: Header
    """Of the last of them."""
    state: StateTree
    """After it."""


class BlockStore(ChainReader):
    """Reads and writes of the final chain. One instance owns its database.

    `write` and `prune` may run in a thread of their own while others read; no two writes at once.
    """

    def __init__(self, database: Database, meta: Meta, *, head: Header, state: StateTree) -> None:
        """Use `create` and `open`."""
        super().__init__(database, meta, head=head, state=state)
        self.undo_blocks = UNDO_BLOCKS
        """Newest blocks that can be taken back."""

    @classmethod
    def create(
        cls, database: Database, *, genesis: bytes, block: Block, state: StateTree, committee: Committee
    ) -> "BlockStore":
        """Write height 0 into an empty database.

        Args:
            database: Empty.
            genesis: Digest of the genesis document.
            block: The genesis block.
            state: The genesis state; its root is in the block's header.
            committee: Of epoch 0.
        """
        header = block.header
        assert header.height == 0 and header.state_root == state.root, "not this state's genesis"
        meta = Meta(FORMAT, genesis, 0, 1, 0)
        changes: Changes = [(META, encode(meta))]
        changes += block_records(block, BlockOutcome((), (), ()), None, committee, epoch=0)
        changes += [(state_prefix(0) + key, value) for key, value in state.items(b"")]
        database.write(changes)
        return cls(database, meta, head=header, state=state)

    @classmethod
    def open(
        cls, database: Database, *, genesis: bytes, progress: Callable[[int], None] = lambda _: None
    ) -> "BlockStore | None":
        """Load the chain, or return None if the database is empty.

        Args:
            database: The chain's database.
            genesis: Digest of the genesis document that this node was started with.
            progress: Told the number of state entries loaded so far.

        Raises:
            ForeignDatabase: It is another chain's, or another version's: nothing is wrong with it.
            CorruptionError: What is there is not one whole chain: resynchronise.
        """
        meta = read_meta(database, genesis)
        if meta is None:
            return None
        state = load_entries(database, state_prefix(meta.generation), progress)
        head = stored(Header, required(database, HEADER + number(meta.head)))
        store = cls(database, meta, head=head, state=state)
        store.check(max(0, meta.head - CHECKED_AT_START))
        if meta.head > 0:
            store.staging().clear()
        return store

    def append(self, final: Sequence[FinalBlock], state: StateTree) -> None:
        """Make blocks final, in order, in one synced batch; `state` is the one after the last of them."""
        batch = self.batch_of(final, state)
        self.write(batch)
        self.advance(batch)

    def batch_of(self, final: Sequence[FinalBlock], state: StateTree) -> Batch:
        """What `append` writes; nothing changes yet."""
        changes: Changes = []
        written: dict[bytes, bytes | None] = {}
        proposed: dict[bytes, Proposed] = {}
        expected = self.head
        for item in final:
            header = item.block.header
            assert header.height == expected.height + 1 and header.parent == expected.digest, (
                "not the next block"
            )
            changes += block_records(
                item.block, item.outcome, item.certificate, item.next_committee, epoch=header.epoch + 1
            )
            changes.append((UNDO + number(header.height), encode(undo_of(item.changes, written, self.state))))
            if header.height > self.undo_blocks:
                changes.append((UNDO + number(header.height - self.undo_blocks), None))
            self._with_fees(proposed, header, fees_burned(item.outcome), sign=1)
            written |= item.changes
            expected = header
        assert expected.state_root == state.root, "the state is not the last block's"
        prefix = state_prefix(self._meta.generation)
        changes += [(prefix + key, value) for key, value in written.items()]
        changes += [(PROPOSED + key, encode(line)) for key, line in proposed.items()]
        return Batch(changes, expected, state)

    def write(self, batch: Batch) -> None:
        """Make a batch durable: the first of the two steps of `append`, the one that waits for the disk."""
        self._write(batch.changes, replace(self._meta, head=batch.head.height))

    def advance(self, batch: Batch) -> None:
        """Let readers see the batch that was written: its head and its state, at once."""
        self.head, self.state = batch.head, batch.state

    def save_journal(self, records: Sequence[tuple[bytes, bytes | None]]) -> None:
        """Write records of consensus that must survive a restart, in one synced batch."""
        self._database.write([(JOURNAL + key, value) for key, value in records])

    def prune(self, below: int, *, most: int) -> int:
        """Forget the oldest blocks, at most `most` of them and none from height `below` on; how many went.

        What proves later blocks stays: header, certificate and committee of every epoch's end.
        """
        end = min(below, self.first + most, self.head.height)
        changes: Changes = []
        for height in range(self.first, end):
            block, outcome, above = self.block(height), self.outcome(height), self.header(height + 1)
            if block is None or outcome is None or above is None:
                raise CorruptionError(f"height {height} or the one above it is missing")
            changes += [*clearing(block, outcome), (UNDO + number(height), None)]
            if ends_epoch(block.header, above):
                keep = {HEADER + number(height), CERTIFICATE + number(height), HEIGHT_OF_BLOCK + above.parent}
                changes = [change for change in changes if change[0] not in keep]
        gone = max(0, end - self.first)
        if gone:
            # Said before it is done: whoever reads meanwhile and misses a block sees that it was forgotten.
            # If the write fails, so does every later call, and the disk still says what is there.
            self._meta = replace(self._meta, first=end)
            self._write(changes, self._meta)
        return gone

    def roll_back(self, count: int) -> int:
        """Take back the newest `count` blocks, and more down to one with a certificate of its own.

        Each goes in one synced batch, so that stopping anywhere leaves a whole chain. They are final: this is
        about the local copy alone, which will be fetched again.

        Returns:
            The height of the new head.

        Raises:
            TooFarBack: The undo records or the blocks do not reach so far; the chain is as it was.
        """
        target = self.head.height - count
        while target > 0 and self.finalization(target) is None:
            target -= 1
        if target < self.first - 1 or self.header(target) is None or self.state_at(target) is None:
            raise TooFarBack(
                f"{count} blocks cannot be taken back: the chain goes back to height {self.least_back()} at "
                f"most, its blocks begin at height {self.first}, and the newest {self.undo_blocks} can be "
                "taken back"
            )
        while self.head.height > target:
            self._take_back()
        return self.head.height

    def staging(self) -> Staging:
        """What a state sync has brought so far; it lies beside the chain until it is adopted."""
        return Staging(self._database, 1 - self._meta.generation)

    def adopt(self, staging: Staging, epoch: int) -> None:
        """Go on from the end of an epoch, whose state was brought in whole; the chain was at genesis.

        Args:
            staging: Holds every end of an epoch up to this one, and exactly its state.
            epoch: The one that ended.
        """
        ends = staging.ends[: epoch + 1]
        last = ends[-1].header
        assert self.head.height == 0, "adopted over a chain"
        assert [end.header.epoch for end in ends] == list(range(epoch + 1)), "not the end of every epoch"
        assert staging.tree.root == last.state_root, "the state is not the epoch's"
        generation = 1 - self._meta.generation
        self._write(
            ends_records(ends), Meta(FORMAT, self._meta.genesis, last.height, last.height + 1, generation)
        )
        self.head, self.state = last, staging.tree
        self.staging().clear()

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    def _take_back(self) -> None:
        head = self.head
        at = number(head.height)
        block, outcome = self.block(head.height), self.outcome(head.height)
        below = self.header(head.height - 1)
        undo = found(Undo, self._database, UNDO + at)
        if block is None or outcome is None or below is None or undo is None:
            raise CorruptionError(f"height {head.height} or the one below it is missing")
        changes: Changes = [*clearing(block, outcome), (UNDO + at, None)]
        proposed: dict[bytes, Proposed] = {}
        self._with_fees(proposed, head, fees_burned(outcome), sign=-1)
        changes += [(PROPOSED + key, encode(line)) for key, line in proposed.items()]
        prefix = state_prefix(self._meta.generation)
        changes += [(prefix + key, value) for key, value in undo.changes.items()]
        if self.committee(head.epoch + 1) is not None:
            changes.append((COMMITTEE + number(head.epoch + 1), None))
        state = self.state.updated(undo.changes)
        assert state.root == below.state_root, "the undo record leads to another state"
        self._write(changes, replace(self._meta, head=below.height))
        self.head, self.state = below, state

    def _write(self, changes: Changes, meta: Meta) -> None:
        """Write one batch, which leads to what ``meta`` says."""
        self._database.write([*changes, (META, encode(meta))])
        self._meta = meta

    def _with_fees(self, lines: dict[bytes, Proposed], header: Header, burned: int, *, sign: int) -> None:
        """Add a block's burned fees to its proposer's line, or take them off it."""
        if not burned:
            return
        key = header.proposer
        line = lines.get(key) or found(Proposed, self._database, PROPOSED + key)
        line = line or Proposed(header.height, 0, 0)
        lines[key] = Proposed(line.first, line.blocks + sign, line.burned + sign * burned)


def read_meta(database: Database, genesis: bytes) -> Meta | None:
    """What the database is; None if it is empty.

    Raises:
        ForeignDatabase: It is of another chain or another version.
        CorruptionError: The record does not read back.
    """
    raw = database.get(META)
    if raw is None:
        return None
    if raw[:2] != encode(Meta(FORMAT, genesis, 0, 0, 0))[:2]:
        raise ForeignDatabase(f"the database has another format, this version reads {FORMAT}")
    meta = stored(Meta, raw)
    if meta.genesis != genesis:
        raise ForeignDatabase(
            f"the database is of genesis {meta.genesis.hex()}, the node was started with {genesis.hex()}"
        )
    return meta
