"""The final chain on disk: what was written comes back, and whatever does not fit is noticed before use."""

import dataclasses

import pytest

from chain.codec import encode
from chain.database.interface import CorruptionError, DatabaseError, DatabaseReason
from chain.database.memory import MemoryDatabase
from chain.layout import UNDO, number
from chain.reasons import Reason
from chain.state.tree import StateTree
from chain.store import BlockStore, FinalBlock, ForeignDatabase, TooFarBack
from chain.types.block import Block, Header, transactions_root
from chain.types.committee import Committee, Validator
from chain.types.receipt import BlockOutcome, Event

GENESIS = bytes(range(32))
NOTHING = BlockOutcome((), (), ())
COMMITTEE = Committee((Validator(bytes([1]) * 32, bytes([2]) * 32, 4),))


def _header(parent: Header | None, state: StateTree, outcome: BlockOutcome) -> Header:
    return Header(
        version=1, chain_id="test", height=0 if parent is None else parent.height + 1, epoch=0, view=0,
        parent=bytes(32) if parent is None else parent.digest, timestamp_ms=0, proposer=bytes(32),
        vrf_proof=bytes(80), beacon=bytes(32), base_fee=1, transactions_root=transactions_root(()),
        receipts_root=outcome.root, state_root=state.root, next_committee_root=bytes(32),
    )  # fmt: skip


def _chain(database: MemoryDatabase, length: int) -> BlockStore:
    state = StateTree.empty().updated({b"a": b"0", b"b": b"x"})
    genesis = Block(_header(None, state, NOTHING), ())
    store = BlockStore.create(database, genesis=GENESIS, block=genesis, state=state, committee=COMMITTEE)
    for height in range(1, length + 1):
        changes: dict[bytes, bytes | None] = {b"a": b"%d" % height, b"b": None}
        event = Event(Reason.TASK_ASSIGNED, b"task", b"miner", height, "")
        _extend(
            store,
            changes,
            BlockOutcome((), (event,), ()),
            certificate=b"c%d" % height if height % 2 else None,
        )
    return store


def _extend(store, changes, outcome, *, certificate):
    state = store.state.updated(changes)
    block = Block(_header(store.head, state, outcome), ())
    store.append([FinalBlock(block, outcome, changes, certificate)], state)


def test_an_empty_database_holds_no_chain():
    assert BlockStore.open(MemoryDatabase(), genesis=GENESIS) is None


def test_reads_back_after_a_restart():
    database = MemoryDatabase()
    store = _chain(database, 5)
    again = BlockStore.open(database, genesis=GENESIS)
    assert again is not None
    assert again.head == store.head
    assert again.state.root == store.state.root
    assert dict(again.state.items(b"")) == {b"a": b"5"}
    assert again.block(3) == store.block(3)
    assert again.height_of(store.head.digest) == 5
    assert again.height_of(bytes(32)) is None
    assert again.block(6) is None
    assert again.outcome(6) is None


def test_finds_the_certificate_that_covers_a_height():
    store = _chain(MemoryDatabase(), 5)
    assert store.finalization(2) is None
    assert store.next_finalization(2) == (3, b"c3")
    assert store.next_finalization(5) == (5, b"c5")
    assert store.next_finalization(6) is None


def test_keeps_the_committee_of_every_epoch():
    store = _chain(MemoryDatabase(), 1)
    state = store.state.updated({b"a": b"9"})
    block = Block(_header(store.head, state, NOTHING), ())
    later = Committee((Validator(bytes([3]) * 32, bytes([2]) * 32, 4),))
    store.append([FinalBlock(block, NOTHING, {b"a": b"9"}, None, later)], state)
    assert store.committee(0) == COMMITTEE
    assert store.committee(1) == later
    assert store.committee(2) is None


def test_tells_the_story_of_a_subject_in_order():
    store = _chain(MemoryDatabase(), 5)
    story = store.events_about(b"task")
    assert [(height, event.amount) for height, event in story] == [(i, i) for i in range(1, 6)]
    assert store.events_about(b"miner") == story
    assert store.events_about(b"tas") == []
    assert store.events_about(b"task", limit=2) == story[-2:]


def test_another_genesis_is_refused():
    database = MemoryDatabase()
    _chain(database, 1)
    with pytest.raises(ForeignDatabase, match="the database is of genesis"):
        BlockStore.open(database, genesis=bytes(32))


@pytest.mark.parametrize(
    ("key", "message"),
    [
        (b"b" + (2).to_bytes(8, "big"), "is missing"),
        (b"o" + (2).to_bytes(8, "big"), "is missing"),
        (b"s\0a", "state root"),
    ],
)
def test_a_hole_is_noticed_at_start(key, message):
    database = MemoryDatabase()
    _chain(database, 5)
    database.write([(key, None)])
    with pytest.raises(CorruptionError, match=message):
        BlockStore.open(database, genesis=GENESIS)


def test_a_changed_value_is_noticed_at_start():
    database = MemoryDatabase()
    _chain(database, 5)
    database.write([(b"s\0a", b"6")])
    with pytest.raises(CorruptionError, match="state root"):
        BlockStore.open(database, genesis=GENESIS)


def test_a_foreign_block_is_noticed_at_start():
    database = MemoryDatabase()
    store = _chain(database, 5)
    block = store.block(2)
    assert block is not None
    header = dataclasses.replace(block.header, timestamp_ms=9)
    database.write([(b"h" + (2).to_bytes(8, "big"), encode(header))])
    with pytest.raises(CorruptionError, match="height 3 does not follow"):
        BlockStore.open(database, genesis=GENESIS)


def test_an_unreadable_record_is_noticed():
    database = MemoryDatabase()
    store = _chain(database, 2)
    database.write([(b"b" + (1).to_bytes(8, "big"), b"\xc1")])
    with pytest.raises(CorruptionError, match="a stored Body does not read back"):
        store.block(1)


def test_blocks_out_of_order_are_our_own_mistake():
    store = _chain(MemoryDatabase(), 2)
    state = store.state
    stray = Block(dataclasses.replace(_header(store.head, state, NOTHING), height=9), ())
    with pytest.raises(AssertionError):
        store.append([FinalBlock(stray, NOTHING, {}, None)], state)


def test_the_journal_is_apart_from_the_chain():
    store = _chain(MemoryDatabase(), 2)
    store.save_journal([(b"x", b"1"), (b"y", b"2")])
    store.save_journal([(b"x", None)])
    assert list(store.load_journal()) == [(b"y", b"2")]


def _blocks_apart(database):
    """Everything but what a state at another height cannot have."""
    return {key: value for key, value in database.iterate(prefix=b"") if key[:1] != b"u"}


def test_going_back_leaves_what_was_there_before():
    database, shorter = MemoryDatabase(), MemoryDatabase()
    store = _chain(database, 7)
    _chain(shorter, 5)
    assert store.roll_back(1) == 5, "height 6 has no certificate of its own"
    assert _blocks_apart(database) == _blocks_apart(shorter)
    again = BlockStore.open(database, genesis=GENESIS)
    assert again is not None
    assert again.head.height == 5
    assert store.roll_back(5) == 0
    assert _blocks_apart(database) == _blocks_apart(_database_of(0))


def _database_of(length):
    database = MemoryDatabase()
    _chain(database, length)
    return database


def test_nothing_goes_back_further_than_is_known():
    store = _chain(MemoryDatabase(), 5)
    with pytest.raises(TooFarBack):
        store.roll_back(6)
    store.undo_blocks = 2
    for height in range(6, 12):
        state = store.state.updated({b"a": b"%d" % height})
        block = Block(_header(store.head, state, NOTHING), ())
        store.append([FinalBlock(block, NOTHING, {b"a": b"%d" % height}, b"c")], state)
    assert [height for height, _ in store.states_back()] == [10, 9]
    with pytest.raises(TooFarBack, match="the newest 2"):
        store.roll_back(3)
    assert store.head.height == 11
    assert store.roll_back(2) == 9


def test_what_is_pruned_is_gone_and_the_rest_is_whole():
    database = MemoryDatabase()
    store = _chain(database, 9)
    first, second = store.block(1), store.block(2)
    assert first is not None and second is not None
    assert store.prune(4, most=2) == 2
    assert store.prune(4, most=2) == 1
    assert store.prune(4, most=2) == 0
    assert (store.first, store.block(3), store.header(3), store.outcome(3)) == (4, None, None, None)
    assert store.height_of(first.digest) is None
    assert store.height_of(bytes(32)) is None
    assert [height for height, _ in store.events_about(b"task")] == [4, 5, 6, 7, 8, 9]
    assert store.next_finalization(1) == (5, b"c5")
    again = BlockStore.open(database, genesis=GENESIS)
    assert again is not None
    again.check()
    assert again.first == 4
    assert [key[1:] for key, _ in database.iterate(prefix=UNDO)] == [number(at) for at in range(4, 10)]
    with pytest.raises(
        TooFarBack, match="6 blocks cannot be taken back: the chain goes back to height 5 at most"
    ):
        store.roll_back(6)
    assert store.prune(100, most=100) == 5, "the head stays"
    assert store.block(9) is not None


def test_a_block_is_served_as_it_lies_there():
    store = _chain(MemoryDatabase(), 3)
    assert store.encoded_block(2) == encode(store.block(2))
    assert store.encoded_block(4) is None


def test_burned_fees_are_one_line_and_no_story():
    store = _chain(MemoryDatabase(), 1)
    for amount in (5, 0, 7):
        event = Event(Reason.FEE_BURNED, bytes(32), b"", amount, "")
        outcome = BlockOutcome((), (), (event,) if amount else ())
        _extend(store, {b"a": b"%d" % amount}, outcome, certificate=b"c")
    line = store.proposed_by(bytes(32))
    assert line is not None
    assert (line.first, line.blocks, line.burned) == (2, 2, 12)
    assert store.events_about(bytes(32)) == []
    store.roll_back(1)
    line = store.proposed_by(bytes(32))
    assert line is not None
    assert (line.first, line.blocks, line.burned) == (2, 1, 5)
    store.roll_back(2)
    assert store.proposed_by(bytes(32)) is None


@pytest.mark.parametrize("writes", range(6))
def test_a_disk_that_is_full_at_any_write_leaves_what_was_acknowledged(writes: int):
    database = MemoryDatabase()
    database.fail_writes_after(writes, DatabaseReason.FULL)
    with pytest.raises(DatabaseError) as caught:
        _chain(database, 5)
    assert caught.value.reason is DatabaseReason.FULL
    found = BlockStore.open(database.reopened(), genesis=GENESIS)
    assert (found is None) == (writes == 0)
    assert found is None or found.head.height == writes - 1


@pytest.mark.parametrize("writes", range(3))
def test_a_disk_that_is_full_while_going_back_leaves_a_whole_chain(writes: int):
    database = _database_of(6)
    store = BlockStore.open(database, genesis=GENESIS)
    assert store is not None
    database.fail_writes_after(writes, DatabaseReason.FULL)
    with pytest.raises(DatabaseError):
        store.roll_back(3)
    found = BlockStore.open(database.reopened(), genesis=GENESIS)
    assert found is not None
    assert found.head.height == 6 - writes


def test_readers_see_a_batch_once_it_is_durable():
    database = MemoryDatabase()
    store = _chain(database, 2)
    state = store.state.updated({b"a": b"9"})
    batch = store.batch_of(
        [FinalBlock(Block(_header(store.head, state, NOTHING), ()), NOTHING, {b"a": b"9"}, None)], state
    )
    # Pruned while the batch waits for the disk: neither forgets what the other moved.
    assert store.prune(2, most=9) == 1
    store.write(batch)
    assert (store.head.height, store.state.get(b"a")) == (2, b"2")
    store.advance(batch)
    assert (store.head.height, store.state.get(b"a")) == (3, b"9")
    found = BlockStore.open(database, genesis=GENESIS)
    assert found is not None
    assert (found.head.height, found.first) == (3, 2)
