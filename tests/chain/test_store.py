"""The final chain on disk: what was written comes back, and whatever does not fit is noticed before use."""

import dataclasses

import pytest

from chain.codec import encode
from chain.database.interface import CorruptionError
from chain.database.memory import MemoryDatabase
from chain.reasons import Reason
from chain.state.tree import StateTree
from chain.store import BlockStore, FinalBlock, ForeignDatabase
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
