"""A node that forgets blocks in the middle of an answer about them: it says so, and is not at fault."""

from collections.abc import Callable
from functools import partial

import pytest
import trio

from chain.codec import decode, encode
from chain.database.interface import CorruptionError
from chain.database.memory import MemoryDatabase
from chain.layout import HEADER, number
from consensus.sync.batch import Anchor, batch_steps, check_batch
from consensus.sync.block_sync import Sync
from consensus.sync.requests import BLOCKS, MAX_ANSWER, BlocksRequest, BlocksResponse
from p2p.network import PeerId, RequestRefused
from tests.consensus.steps import finish
from tests.tools.node.liars import Recorder
from tests.tools.node.long_chain import LongChain, copy_into, document, open_chain

EPOCH = 10
GENESIS = document(epoch_length=EPOCH)
CHAIN_ID = GENESIS.params.chain_id


class Interrupted(MemoryDatabase):
    """Lets something happen after some reads, as another thread may."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = 0
        self.then: Callable[[], object] | None = None

    def get(self, key: bytes) -> bytes | None:
        value = super().get(key)
        self._read()
        return value

    def iterate(self, **options):
        entries = super().iterate(**options)
        self._read()
        return entries

    def _read(self) -> None:
        self.reads -= 1
        if self.reads == 0 and self.then is not None:
            self.then()


@pytest.fixture(scope="module")
def whole() -> MemoryDatabase:
    """Every fourth block has a certificate, and the last of each epoch."""
    database = MemoryDatabase()
    trio.run(partial(open_chain(database, GENESIS).grow, 35, direct=4))
    return database


def interrupted(whole: MemoryDatabase, reads: int, blocks: int) -> LongChain:
    """A chain that forgets its first blocks once it was read some times."""
    database = Interrupted()
    copy_into(whole.iterate(prefix=b""), database)
    chain = open_chain(database, GENESIS)
    database.reads, database.then = reads, lambda: chain.store.prune(1 + blocks, most=blocks)
    return chain


def each_moment(whole: MemoryDatabase, blocks: int, ask: Callable[[LongChain], object]) -> int:
    """Ask once for every read that an answer takes; how many."""
    for reads in range(1, 1000):
        chain = interrupted(whole, reads, blocks)
        ask(chain)
        if chain.store.first == 1:
            return reads
    raise AssertionError("no end of it")


@pytest.mark.parametrize("blocks", [1, 2, 4, 9, 10, 13])
@pytest.mark.parametrize(("first", "count"), [(1, 1), (1, 3), (2, 6), (9, 2)])
def test_a_batch_is_good_or_lies_before_the_first_block(whole, first, count, blocks):
    """Blocks that were read already may be told all the same."""
    below = open_chain(whole, GENESIS).store.header(first - 1)
    anchor = Anchor(first - 1, below.digest, 0, GENESIS.committee, EPOCH)
    told = set()

    def ask(chain: LongChain) -> None:
        answer = finish(batch_steps(chain.ledger, BlocksRequest(first, count)))
        told.add(answer is not None)
        if answer is None:
            assert first < chain.ledger.first_block
        else:
            check_batch(decode(BlocksResponse, answer, limit=MAX_ANSWER), anchor, chain_id=CHAIN_ID)

    assert each_moment(whole, blocks, ask) > 3
    assert told == ({True, False} if first <= blocks else {True})


async def test_the_refusal_names_the_first_block(whole):
    chain, recorder = interrupted(whole, 4, 3), Recorder()

    async def nothing(_blocks: object, _certificate: object) -> None:
        raise AssertionError("nobody syncs here")

    Sync(recorder, chain.ledger, nothing, request_timeout=1, poll_interval=1).register()
    with pytest.raises(RequestRefused, match="height 1 lies before 4, this node's first block"):
        await recorder.handlers[BLOCKS](PeerId("asker"), encode(BlocksRequest(1, 2)))


@pytest.mark.parametrize("blocks", [2, 3, 5])
def test_a_block_is_whole_or_not_there(whole, blocks):
    def ask(chain: LongChain) -> None:
        found = chain.store.block(2)
        assert chain.store.first > 2 if found is None else found.header.height == 2

    assert each_moment(whole, blocks, ask) == 3


def test_a_header_that_must_be_there_is_missed(whole):
    chain = interrupted(whole, 0, 0)
    chain.store._database.write([(HEADER + number(2), None)])
    for read in (chain.store.block, chain.store.encoded_block):
        with pytest.raises(CorruptionError):
            read(2)


def test_the_first_block_is_known_to_be_another_before_the_old_one_goes(whole, monkeypatch):
    store, seen = interrupted(whole, 0, 0).store, []
    monkeypatch.setattr(
        store._database, "write", lambda _: seen.append((store.first, store.block(1) is None))
    )
    store.prune(3, most=9)
    assert seen == [(3, False)]
