"""The final chain on disk: blocks, outcomes, certificates, indices and the state, one atomic batch a block.

Only final things are written here; speculation lives in memory and is lost without harm. The state is kept as
its plain entries, and the authenticated tree over them is built again at start and must give the head's state
root.

Invariant: after every batch the database holds heights 0 to head without a hole, each with block and outcome,
and the state of exactly the head.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Final, TypeVar

from chain.codec import U16, U64, AtMost, Hash32, decode, encode
from chain.database.interface import CorruptionError, Database
from chain.msgpack_reader import DecodeError
from chain.state.tree import StateTree
from chain.types.block import Block, Header, transactions_root
from chain.types.committee import Committee
from chain.types.receipt import BlockOutcome, Event

FORMAT: Final = 1
"""Layout of the keys below; a database of another layout is refused, never guessed at."""

CHECKED_AT_START: Final = 1000
"""Heights whose hash chain is walked at every start; a hole in the middle shows up here."""

_MAX_RECORD: Final = 1 << 26
_LOAD_BATCH: Final = 50_000

_T = TypeVar("_T")

_META = b"m"
_BLOCK, _OUTCOME, _CERTIFICATE = b"b", b"o", b"c"
_HEIGHT_OF_BLOCK, _PLACE_OF_TRANSACTION, _EVENT = b"d", b"t", b"e"
_STATE = b"s"
_COMMITTEE = b"k"
_JOURNAL = b"j"


class ForeignDatabase(Exception):  # noqa: N818 - reads as a sentence where it is caught
    """The database is whole but not this chain's: the operator mixed up folders, files or versions."""


@dataclass(frozen=True, slots=True)
class _Meta:
    format: U16
    genesis: Hash32
    head: U64


@dataclass(frozen=True, slots=True)
class _Place:
    height: U64
    index: U16


@dataclass(frozen=True, slots=True)
class _Certificate:
    encoded: Annotated[bytes, AtMost(1 << 22)]


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


class BlockStore:
    """Reads and writes of the final chain. One instance owns its database."""

    def __init__(self, database: Database, *, genesis: bytes, head: Header, state: StateTree) -> None:
        self._database = database
        self._genesis = genesis
        self.head = head
        """Header of the last final block."""
        self.state = state
        """State after the last final block."""

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
        assert block.header.height == 0 and block.header.state_root == state.root, "not this state's genesis"
        store = cls(database, genesis=genesis, head=block.header, state=state)
        outcome = BlockOutcome((), (), ())
        database.write(
            store._changes_of(FinalBlock(block, outcome, dict(state.items(b"")), None, committee), epoch=0)
        )
        return store

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
        raw = database.get(_META)
        if raw is None:
            return None
        meta = _decoded(_Meta, raw)
        if meta.format != FORMAT:
            raise ForeignDatabase(f"the database has format {meta.format}, this version reads {FORMAT}")
        if meta.genesis != genesis:
            raise ForeignDatabase(
                f"the database is of genesis {meta.genesis.hex()}, the node was started with {genesis.hex()}"
            )
        state = _load_state(database, progress)
        head = _decoded(Block, _required(database, _BLOCK + _number(meta.head))).header
        store = cls(database, genesis=genesis, head=head, state=state)
        store.check(max(0, meta.head - CHECKED_AT_START))
        return store

    def append(self, final: Sequence[FinalBlock], state: StateTree) -> None:
        """Make blocks final, in order, in one synced batch; `state` is the one after the last of them."""
        changes: list[tuple[bytes, bytes | None]] = []
        expected = self.head
        for item in final:
            header = item.block.header
            assert header.height == expected.height + 1 and header.parent == expected.digest, (
                "not the next block"
            )
            changes += self._changes_of(item, epoch=header.epoch + 1)
            expected = header
        assert expected.state_root == state.root, "the state is not the last block's"
        self._database.write(changes)
        self.head, self.state = expected, state

    def block(self, height: int) -> Block | None:
        """The final block at a height."""
        raw = self._database.get(_BLOCK + _number(height))
        return None if raw is None else _decoded(Block, raw)

    def outcome(self, height: int) -> BlockOutcome | None:
        """What became of the transactions of the block at a height."""
        raw = self._database.get(_OUTCOME + _number(height))
        return None if raw is None else _decoded(BlockOutcome, raw)

    def finalization(self, height: int) -> bytes | None:
        """The encoded certificate that finalized exactly this height, if one did."""
        raw = self._database.get(_CERTIFICATE + _number(height))
        return None if raw is None else _decoded(_Certificate, raw).encoded

    def committee(self, epoch: int) -> Committee | None:
        """The committee of an epoch that has begun or is about to."""
        raw = self._database.get(_COMMITTEE + _number(epoch))
        return None if raw is None else _decoded(Committee, raw)

    def next_finalization(self, height: int) -> tuple[int, bytes] | None:
        """The first height from `height` on that has a certificate of its own, with that certificate."""
        for key, raw in self._database.iterate(prefix=_CERTIFICATE, start=_CERTIFICATE + _number(height)):
            return int.from_bytes(key[1:], "big"), _decoded(_Certificate, raw).encoded
        return None

    def height_of(self, block: bytes) -> int | None:
        """Height of the final block with this digest."""
        raw = self._database.get(_HEIGHT_OF_BLOCK + block)
        return None if raw is None else int.from_bytes(raw, "big")

    def find_transaction(self, transaction: bytes) -> tuple[int, int] | None:
        """Height and index of a final transaction."""
        raw = self._database.get(_PLACE_OF_TRANSACTION + transaction)
        if raw is None:
            return None
        place = _decoded(_Place, raw)
        return place.height, place.index

    def events_about(self, subject: bytes, *, limit: int = 1000) -> list[tuple[int, Event]]:
        """The latest events that name `subject`, oldest first, each with its height."""
        prefix = _subject_prefix(subject)
        found: list[tuple[int, Event]] = []
        for key, raw in self._database.iterate(prefix=prefix, reverse=True):
            if len(found) == limit:
                break
            found.append((int.from_bytes(key[len(prefix) : len(prefix) + 8], "big"), _decoded(Event, raw)))
        return found[::-1]

    def save_journal(self, records: Sequence[tuple[bytes, bytes | None]]) -> None:
        """Write records of consensus that must survive a restart, in one synced batch."""
        self._database.write([(_JOURNAL + key, value) for key, value in records])

    def load_journal(self) -> Iterator[tuple[bytes, bytes]]:
        """All journal records, ascending by key."""
        for key, value in self._database.iterate(prefix=_JOURNAL):
            yield key[len(_JOURNAL) :], value

    def check(self, start: int = 0, *, progress: Callable[[int], None] = lambda _: None) -> None:
        """Walk heights `start` to head: hash chain, roots of bodies and outcomes, and the head's state.

        Raises:
            CorruptionError: The first thing that does not fit.
        """
        previous: bytes | None = None
        for height in range(start, self.head.height + 1):
            block = _decoded(Block, _required(self._database, _BLOCK + _number(height)))
            outcome = _decoded(BlockOutcome, _required(self._database, _OUTCOME + _number(height)))
            header = block.header
            if header.height != height or (previous is not None and header.parent != previous):
                raise CorruptionError(f"the block stored at height {height} does not follow the one below it")
            if header.transactions_root != transactions_root(block.transactions):
                raise CorruptionError(
                    f"the transactions at height {height} are not the ones its header names"
                )
            if height > 0 and header.receipts_root != outcome.root:
                raise CorruptionError(f"the outcome at height {height} is not the one its header names")
            previous = header.digest
            progress(height)
        if self.state.root != self.head.state_root:
            raise CorruptionError(
                f"state root {self.state.root.hex()}, the head has {self.head.state_root.hex()}"
            )

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    def _changes_of(self, final: FinalBlock, *, epoch: int) -> list[tuple[bytes, bytes | None]]:
        header = final.block.header
        at = _number(header.height)
        changes: list[tuple[bytes, bytes | None]] = [
            (_BLOCK + at, encode(final.block)),
            (_OUTCOME + at, encode(final.outcome)),
            (_HEIGHT_OF_BLOCK + header.digest, at),
            (_META, encode(_Meta(FORMAT, self._genesis, header.height))),
        ]
        if final.certificate is not None:
            changes.append((_CERTIFICATE + at, encode(_Certificate(final.certificate))))
        if final.next_committee is not None:
            changes.append((_COMMITTEE + _number(epoch), encode(final.next_committee)))
        for index, transaction in enumerate(final.block.transactions):
            changes.append((_PLACE_OF_TRANSACTION + transaction.id, encode(_Place(header.height, index))))
        for number, event in enumerate(_events(final.outcome)):
            place, raw = at + number.to_bytes(4, "big"), encode(event)
            parties = dict.fromkeys((event.subject, event.other))
            changes += [(_subject_prefix(party) + place, raw) for party in parties if party]
        changes += [(_STATE + key, value) for key, value in final.changes.items()]
        return changes


def _events(outcome: BlockOutcome) -> Iterator[Event]:
    """A block's events in the order in which they happened."""
    yield from outcome.opening
    for receipt in outcome.receipts:
        yield from receipt.events
    yield from outcome.closing


def _load_state(database: Database, progress: Callable[[int], None]) -> StateTree:
    state = StateTree.empty()
    batch: dict[bytes, bytes | None] = {}
    loaded = 0
    for key, value in database.iterate(prefix=_STATE):
        batch[key[len(_STATE) :]] = value
        if len(batch) == _LOAD_BATCH:
            state, loaded, batch = state.updated(batch), loaded + len(batch), {}
            progress(loaded)
    return state.updated(batch)


def _number(height: int) -> bytes:
    return height.to_bytes(8, "big")


def _subject_prefix(subject: bytes) -> bytes:
    # The length keeps one subject from being the prefix of another.
    return _EVENT + bytes([len(subject)]) + subject


def _required(database: Database, key: bytes) -> bytes:
    value = database.get(key)
    if value is None:
        raise CorruptionError(f"the record {key!r} is missing")
    return value


def _decoded(kind: type[_T], raw: bytes) -> _T:
    try:
        return decode(kind, raw, limit=_MAX_RECORD)
    except DecodeError as error:
        raise CorruptionError(f"a stored {kind.__name__} does not read back: {error}") from error
