"""Block sync: what is a good batch, what is a lie, and what becomes of liars."""

from dataclasses import replace

import pytest
import trio
from trio.testing import MockClock

from chain.codec import encode
from chain.types.block import Block
from chain.types.statement import Kind
from consensus.messages import Certificate
from consensus.sync.batch import Anchor, BatchError, BatchFault, check_batch
from consensus.sync.block_sync import Sync
from consensus.sync.requests import BLOCKS, STATUS, BlocksRequest, BlocksResponse, Status
from consensus.sync.serving import SERVING_SHARE
from p2p.network import Network, PeerId
from tests.consensus.batches import make_batch
from tests.consensus.chains import COMMITTEES, PARAMS, certify, chain_of, committee
from tests.consensus.cluster import open_cluster
from tests.consensus.fakes import CHAIN_ID, ChainTwin

SOURCE = chain_of(11, direct=lambda height: height not in (2, 3))


def anchor(height: int, source: ChainTwin = SOURCE) -> Anchor:
    epoch = PARAMS.epoch_of(height + 1)
    return Anchor(height, source.final[height], epoch, committee(epoch), PARAMS.last_height(epoch))


def batch(first: int, count: int = 64) -> BlocksResponse:
    made = make_batch(SOURCE, BlocksRequest(first, count))
    assert made is not None
    return made


@pytest.mark.parametrize(("first", "end"), [(1, 4), (3, 4), (4, 4), (5, 8), (9, 11)])
def test_a_batch_ends_where_the_epoch_does(first: int, end: int) -> None:
    made = batch(first)
    assert [block.header.height for block in made.blocks] == list(range(first, end + 1))
    assert made.bridge == ()
    check_batch(made, anchor(first - 1), chain_id=CHAIN_ID)


def test_a_batch_prefers_to_end_on_a_certified_block() -> None:
    made = batch(1, 3)
    assert [block.header.height for block in made.blocks] == [1]
    check_batch(made, anchor(0), chain_id=CHAIN_ID)


def test_headers_lead_to_the_certified_block_where_there_is_none() -> None:
    made = batch(2, 1)
    assert [block.header.height for block in made.blocks] == [2]
    assert [header.height for header in made.bridge] == [3, 4]
    check_batch(made, anchor(1), chain_id=CHAIN_ID)


@pytest.mark.parametrize(("first", "count"), [(0, 4), (12, 4), (1, 0)])
def test_what_is_not_final_here_is_not_served(first: int, count: int) -> None:
    assert make_batch(SOURCE, BlocksRequest(first, count)) is None


def test_a_batch_is_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    one = len(encode(SOURCE.final_block(5)))
    monkeypatch.setattr("consensus.sync.batch.BATCH_BYTES", 2 * one + 10)
    assert len(batch(5).blocks) == 2
    monkeypatch.setattr("consensus.sync.batch.BATCH_BYTES", 1)
    assert len(batch(5).blocks) == 1


GOOD = batch(5)


def other_body(block: Block) -> Block:
    from chain.types.transaction import SignedTransaction, Transaction, Unregister

    extra = SignedTransaction(Transaction(CHAIN_ID, bytes(32), 0, 0, 0, Unregister()), bytes(64))
    return Block(block.header, (extra,))


LAST = GOOD.blocks[-1]
LIES = {
    BatchFault.EMPTY: replace(GOOD, blocks=()),
    BatchFault.WRONG_HEIGHT: replace(GOOD, blocks=GOOD.blocks[1:]),
    BatchFault.BROKEN_CHAIN: replace(
        GOOD, blocks=(*GOOD.blocks[:3], Block(replace(LAST.header, parent=bytes(32)), ()))
    ),
    BatchFault.WRONG_EPOCH: replace(GOOD, blocks=(Block(replace(GOOD.blocks[0].header, epoch=2), ()),)),
    BatchFault.WRONG_BODY: replace(GOOD, blocks=(*GOOD.blocks[:3], other_body(LAST))),
    BatchFault.WRONG_CERTIFICATE: replace(GOOD, certificate=certify(LAST, kind=Kind.NOTARIZE)),
    BatchFault.BAD_CERTIFICATE: replace(GOOD, certificate=replace(GOOD.certificate, view=99)),
}


@pytest.mark.parametrize("reason", LIES)
def test_a_lie_is_named(reason: BatchFault) -> None:
    with pytest.raises(BatchError) as caught:
        check_batch(LIES[reason], anchor(4), chain_id=CHAIN_ID)
    assert caught.value.reason is reason


def test_every_fault_has_its_lie() -> None:
    assert set(LIES) == set(BatchFault)


def test_the_committee_of_another_epoch_certifies_nothing() -> None:
    wrong = replace(anchor(4), committee=COMMITTEES[0])
    with pytest.raises(BatchError) as caught:
        check_batch(GOOD, wrong, chain_id=CHAIN_ID)
    assert caught.value.reason is BatchFault.BAD_CERTIFICATE


@pytest.fixture
def autojump_clock() -> MockClock:
    return MockClock(autojump_threshold=0)


def serve(
    network: Network, source: ChainTwin, *, claims: int | None = None, lie: BlocksResponse | None = None
) -> None:
    """Answer as a node with ``source`` does, except for what the test plants."""
    from chain.codec import decode

    async def status(peer: PeerId, payload: bytes) -> bytes:
        await trio.lowlevel.checkpoint()
        return encode(Status(claims or source.final_head.height, source.final[-1], 2))

    async def blocks(peer: PeerId, payload: bytes) -> bytes:
        await trio.lowlevel.checkpoint()
        made = lie or make_batch(source, decode(BlocksRequest, payload, limit=1024))
        assert made is not None
        return encode(made)

    network.set_handler(STATUS, status, limit=1024)
    network.set_handler(BLOCKS, blocks, limit=1024)


async def follow(network: Network, chain: ChainTwin, seconds: float) -> None:
    async def deliver(blocks, certificate) -> None:
        await trio.lowlevel.checkpoint()
        chain.settle(blocks, certificate)

    sync = Sync(network, chain, deliver, request_timeout=1.0, poll_interval=1.0)
    with trio.move_on_after(seconds):
        await sync.run()


async def test_sync_follows_through_total_changes_of_the_committee(autojump_clock: MockClock) -> None:
    async with open_cluster() as cluster:
        serve(cluster.stranger("peer"), SOURCE)
        mine = chain_of(1).restarted()
        await follow(cluster.stranger("me"), mine, 10)
    assert mine.final == SOURCE.final
    assert sorted(mine.certificates) == [1, 4, 8, 11]


async def test_a_gap_in_certificates_larger_than_a_batch_is_bridged(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("consensus.sync.batch.BATCH_BYTES", 1)
    async with open_cluster() as cluster:
        serve(cluster.stranger("peer"), SOURCE)
        mine = ChainTwin(PARAMS, committee)
        await follow(cluster.stranger("me"), mine, 10)
    assert mine.final == SOURCE.final
    assert 2 not in mine.certificates
    assert 3 not in mine.certificates


async def test_a_liar_is_reported_and_another_peer_asked(autojump_clock: MockClock) -> None:
    async with open_cluster() as cluster:
        serve(cluster.stranger("a-liar"), SOURCE, claims=1000, lie=GOOD)
        serve(cluster.stranger("honest"), SOURCE)
        mine = ChainTwin(PARAMS, committee)
        me = cluster.stranger("me")
        await follow(me, mine, 10)
        scores = {peer.peer: peer.score for peer in me.stats().peers}
        bans = {ban.peer for ban in me.stats().bans}
    assert mine.final == SOURCE.final
    assert "a-liar" in bans or scores["a-liar"] < 0
    assert scores["honest"] == 0


def trickle(network: Network, source: ChainTwin) -> None:
    """Claim everything, and answer with one block a time-out."""
    from chain.codec import decode

    async def status(peer: PeerId, payload: bytes) -> bytes:
        await trio.lowlevel.checkpoint()
        return encode(Status(1 << 20, bytes(32), 9))

    async def blocks(peer: PeerId, payload: bytes) -> bytes:
        await trio.sleep(0.9)
        made = make_batch(source, BlocksRequest(decode(BlocksRequest, payload, limit=1024).first, 1))
        assert made is not None
        return encode(made)

    network.set_handler(STATUS, status, limit=1024)
    network.set_handler(BLOCKS, blocks, limit=1024)


@pytest.mark.parametrize("every", [1, 4])
async def test_a_peer_that_trickles_cannot_hold_a_node_back(autojump_clock: MockClock, every: int) -> None:
    """Whether its blocks can be made final one by one, or only an epoch at a time."""
    source = chain_of(40, direct=lambda height: height % every == 0)
    async with open_cluster() as cluster:
        trickle(cluster.stranger("a-slow"), source)
        serve(cluster.stranger("honest"), source)
        mine = ChainTwin(PARAMS, committee)
        await follow(cluster.stranger("me"), mine, 10)
    assert mine.final == source.final


async def test_hints_leave_a_place_to_the_others(autojump_clock: MockClock) -> None:
    async with open_cluster() as cluster:
        liars = [cluster.stranger(f"liar-{number}") for number in range(6)]
        for liar in liars:
            serve(liar, chain_of(1))
        serve(cluster.stranger("z-honest"), SOURCE)
        mine, me = ChainTwin(PARAMS, committee), cluster.stranger("me")

        async def deliver(blocks, certificate) -> None:
            await trio.lowlevel.checkpoint()
            mine.settle(blocks, certificate)

        sync = Sync(me, mine, deliver, request_timeout=1.0, poll_interval=1.0)

        async def shout() -> None:
            while True:
                for liar in liars:
                    sync.hint(liar.local_id)
                await trio.sleep(0.1)

        with trio.move_on_after(20):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(shout)
                await sync.run()
    assert mine.final == SOURCE.final


async def nothing(blocks: tuple[Block, ...], certificate: Certificate) -> None:
    raise AssertionError("nobody syncs here")


async def test_questions_take_a_share_of_the_time_and_no_more(autojump_clock: MockClock) -> None:
    """Eight peers that ask without pause, of a node that needs 10 ms to read a block."""
    source = chain_of(8)
    read, spent = source.encoded_block, 0.0

    def slow(height: int) -> bytes | None:
        nonlocal spent
        autojump_clock.jump(0.01)
        spent += 0.01
        return read(height)

    async with open_cluster() as cluster:
        server = cluster.stranger("server")
        Sync(server, source, nothing, request_timeout=1.0, poll_interval=1.0).register()
        source.encoded_block = slow
        answers = 0

        async def ask(name: str) -> None:
            nonlocal answers
            asker = cluster.stranger(name)
            while True:
                await asker.request(
                    server.local_id, BLOCKS, encode(BlocksRequest(1, 64)), timeout=5.0, limit=1 << 20
                )
                answers += 1

        began = trio.current_time()
        with trio.move_on_after(20):
            async with trio.open_nursery() as nursery:
                for number in range(8):
                    nursery.start_soon(ask, f"asker-{number}")
        assert answers > 50
        assert spent <= (trio.current_time() - began) / SERVING_SHARE + 0.1
