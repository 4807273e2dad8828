"""A damaged database is noticed, kept for the operator, and replaced by a fresh start."""

import pytest

from chain.database.interface import DatabaseError, DatabaseReason
from chain.database.memory import MemoryDatabase
from chain.state.tree import StateTree
from chain.store import BlockStore, ForeignDatabase
from chain.types.block import Block
from tests.chain.test_store import COMMITTEE, GENESIS, NOTHING, _header
from tools.node.scrub import STEP, STEP_BYTES, Scrubber
from tools.node.storage import open_store


def _write_chain(path):
    database, store = open_store(path, genesis=GENESIS)
    assert store is None
    state = StateTree.empty().updated({b"a": b"1"})
    BlockStore.create(
        database,
        genesis=GENESIS,
        block=Block(_header(None, state, NOTHING), ()),
        state=state,
        committee=COMMITTEE,
    )
    database.close()


def test_opens_what_was_written(tmp_path):
    _write_chain(tmp_path / "chain")
    database, store = open_store(tmp_path / "chain", genesis=GENESIS)
    assert store is not None
    assert store.head.height == 0
    database.close()


def test_a_second_opener_is_told_so(tmp_path):
    database, _ = open_store(tmp_path / "chain", genesis=GENESIS)
    with pytest.raises(DatabaseError) as caught:
        open_store(tmp_path / "chain", genesis=GENESIS)
    assert caught.value.reason is DatabaseReason.LOCKED
    database.close()


def test_another_chains_database_is_left_alone(tmp_path):
    _write_chain(tmp_path / "chain")
    with pytest.raises(ForeignDatabase):
        open_store(tmp_path / "chain", genesis=bytes(32))
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == ["chain"]


def test_a_flipped_bit_leads_to_a_fresh_start_and_a_kept_copy(tmp_path):
    path = tmp_path / "chain"
    _write_chain(path)
    [log] = path.glob("*.log")
    raw = bytearray(log.read_bytes())
    raw[len(raw) // 2] ^= 1
    log.write_bytes(raw)
    database, store = open_store(path, genesis=GENESIS)
    assert store is None
    assert (tmp_path / "chain.damaged-1" / log.name).read_bytes() == raw
    database.close()


class Counted(MemoryDatabase):
    """Notes the sizes of what is read, one list a walk."""

    def __init__(self, entries):
        super().__init__()
        self.write(entries)
        self.walks = []

    def iterate(self, *, prefix, start=None, reverse=False):
        sizes = []
        self.walks.append(sizes)
        for key, value in super().iterate(prefix=prefix, start=start, reverse=reverse):
            sizes.append(len(key) + len(value))
            yield key, value


def test_a_step_of_scrubbing_is_short_however_large_the_entries_are():
    large, small = STEP_BYTES // 4, 2 * STEP
    entries = [(b"b%d" % number, bytes(large)) for number in range(9)]
    entries += [(b"s%06d" % number, b"") for number in range(small)]
    database = Counted(entries)
    scrubber = Scrubber(database)
    for _ in range(2):
        database.walks.clear()
        while scrubber.step():
            pass
        assert sum(map(len, database.walks)) == len(entries), "each is read once a round"
        assert max(map(len, database.walks)) == STEP
        assert max(map(sum, database.walks)) <= STEP_BYTES + large
        assert len(database.walks) == 5
    database = Counted([(b"b%d" % number, bytes(2 * STEP_BYTES)) for number in range(3)])
    scrubber = Scrubber(database)
    while scrubber.step():
        pass
    assert [len(walk) for walk in database.walks] == [1, 1, 1, 0]
