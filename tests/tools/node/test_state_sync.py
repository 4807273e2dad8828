"""Beginning with a state: many liars and one honest peer, kills, moving targets, and nothing to be had."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from random import Random

import pytest
import trio

from chain.codec import decode, encode
from chain.crypto.ed25519 import SecretKey
from chain.database.memory import MemoryDatabase
from chain.execution import queries
from chain.state.chunks import Entries, Entry
from chain.store import BlockStore
from chain.types.transaction import Transaction, Transfer, sign_transaction
from consensus.sync.snapshots import (
    EPOCHS,
    OFFERS,
    PIECES,
    EpochsResponse,
    Offers,
    PiecesResponse,
    SnapshotServer,
)
from consensus.sync.state_sync import StateSync, StateSyncSettings
from p2p.memory import Link, MemoryHub, open_hub
from p2p.network import Network, PeerId, RequestRefused
from tests.tools.chain_node import ChainNode, StoredChain, chain_node
from tests.tools.keys import ALICE
from tools.node.run import create_chain
from tools.node.snapshots import EpochSnapshots

EPOCH = 10


def advance(node: ChainNode, blocks: int, *, transfers: int = 4) -> None:
    """Make blocks, each with transfers to accounts that nobody has used."""
    for _ in range(blocks):
        nonce = queries.account(node.state, ALICE.public_key).nonce
        for number in range(nonce, nonce + transfers):
            to = SecretKey(Random(number).randbytes(32)).public_key
            chain_id = node.genesis.params.chain_id
            body = Transaction(chain_id, ALICE.public_key, number, 1000, 1, Transfer(to, 5))
            assert node.mempool.add(sign_transaction(body, ALICE), node.state).name == "OK"
        node.produce()


@pytest.fixture(scope="module")
def source() -> ChainNode:
    node = chain_node()
    advance(node, 5 * EPOCH + 3)
    return node


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chain.state.chunks.MAX_CHUNK_ENTRIES", 6)


@asynccontextmanager
async def hub_of(seed: int = 1) -> AsyncIterator[MemoryHub]:
    async with open_hub(rng=Random(seed), link=Link(delay=0.01, jitter=0.02)) as hub:
        yield hub


def serve(network: Network, node: ChainNode) -> None:
    chain = StoredChain(node.store, node.genesis.params)
    SnapshotServer(network, chain, EpochSnapshots(node.store, node.genesis.params)).register()


Liar = Callable[[bytes, bytes], Awaitable[bytes]]
"""Makes an answer of the question and the honest answer."""


def serve_lies(network: Network, node: ChainNode, **lies: Liar) -> None:
    """Answer honestly, except to the methods for which there is a lie."""
    honest: dict[str, Callable[[PeerId, bytes], Awaitable[bytes]]] = {}

    class Recorder:
        def is_kept(self, peer: PeerId) -> bool:
            return False

        def set_handler(self, method: str, handler, *, limit: int) -> None:
            honest[method] = handler

    serve(Recorder(), node)
    for method, name in ((OFFERS, "offers"), (EPOCHS, "epochs"), (PIECES, "pieces")):

        async def answer(peer: PeerId, payload: bytes, method=method, name=name) -> bytes:
            told = await honest[method](peer, payload)
            return await lies[name](payload, told) if name in lies else told

        network.set_handler(method, answer, limit=1 << 13)


async def wrong_piece(question: bytes, told: bytes) -> bytes:
    answer = decode(PiecesResponse, told, limit=1 << 22)
    return encode(PiecesResponse((*answer.pieces[:-1], Entries((Entry(b"key", b"value"),)))))


async def no_piece(question: bytes, told: bytes) -> bytes:
    return encode(PiecesResponse(()))


async def rubbish(question: bytes, told: bytes) -> bytes:
    return b"\xc1"


async def silence(question: bytes, told: bytes) -> bytes:
    await trio.sleep_forever()
    raise AssertionError


async def refusal(question: bytes, told: bytes) -> bytes:
    raise RequestRefused("not today")


async def claim_of_the_future(question: bytes, told: bytes) -> bytes:
    return encode(Offers((1 << 40, *decode(Offers, told, limit=256).epochs)))


async def trickle(question: bytes, told: bytes) -> bytes:
    await trio.sleep(0.9)
    return encode(PiecesResponse(decode(PiecesResponse, told, limit=1 << 22).pieces[:1]))


async def wrong_committee(question: bytes, told: bytes) -> bytes:
    first, *rest = decode(EpochsResponse, told, limit=1 << 22).ends
    changed = replace(first, header=replace(first.header, state_root=bytes(32)))
    return encode(EpochsResponse((changed, *rest)))


LIARS: dict[str, dict[str, Liar]] = {
    "a wrong piece": {"pieces": wrong_piece},
    "no pieces": {"pieces": no_piece},
    "rubbish": {"pieces": rubbish},
    "rubbish offers": {"offers": rubbish},
    "silence": {"pieces": silence},
    "refuses": {"pieces": refusal, "epochs": refusal},
    "the future": {"offers": claim_of_the_future, "epochs": refusal},
    "a forged end": {"offers": claim_of_the_future, "epochs": wrong_committee},
    "trickle": {"pieces": trickle},
}
INNOCENT = {"silence", "refuses", "the future", "trickle"}
"""What may happen to the honest costs no more than patience."""


class Beginner:
    def __init__(self, node: ChainNode) -> None:
        self.node = node
        self.database = MemoryDatabase()
        self.store = create_chain(self.database, node.genesis)

    def sync(self, network: Network, *, least: int = 2 * EPOCH, patience: float | None = 30) -> StateSync:
        return StateSync(
            network, self.store.staging().load(), params=self.node.genesis.params,
            genesis_committee=self.node.genesis.committee,
            settings=StateSyncSettings(least, request_timeout=1.0, patience=patience),
        )  # fmt: skip

    def restarted(self) -> "Beginner":
        again = Beginner.__new__(Beginner)
        again.node, again.database = self.node, self.database.reopened()
        store = BlockStore.open(again.database, genesis=self.node.genesis.digest)
        assert store is not None
        again.store = store
        return again

    def adopt(self, epoch: int) -> None:
        self.store.adopt(self.store.staging().load(), epoch)


async def test_a_state_is_brought_in_and_adopted(autojump_clock, source):
    me = Beginner(source)
    async with hub_of() as hub:
        serve(hub.join(PeerId("peer")), source)
        sync = me.sync(hub.join(PeerId("me")))
        epoch = await sync.run()
    assert epoch == 4
    assert sync.pieces > 40
    me.adopt(epoch)
    store = me.restarted().store
    assert store.head == source.store.header(5 * EPOCH)
    assert (store.first, store.block(5 * EPOCH)) == (5 * EPOCH + 1, None)
    assert store.state.root == store.head.state_root
    assert dict(store.state.items(b"")) == dict(source.store.state_at(5 * EPOCH).items(b""))
    for ended in range(5):
        assert store.committee(ended + 1) == source.store.committee(ended + 1)
        assert store.header(EPOCH * (ended + 1)) == source.store.header(EPOCH * (ended + 1))
    assert not list(me.database.iterate(prefix=b"z"))
    assert not list(me.database.iterate(prefix=b"s\0"))
    # It goes on from there as any node does, and proves what it has to strangers.
    proof = StoredChain(store, source.genesis.params)
    assert proof.finalization(5 * EPOCH) == StoredChain(source.store, source.genesis.params).finalization(50)


@pytest.mark.parametrize("name", LIARS)
async def test_a_liar_is_found_and_the_state_comes_from_another(autojump_clock, source, name):
    me = Beginner(source)
    async with hub_of() as hub:
        serve_lies(hub.join(PeerId("a-liar")), source, **LIARS[name])
        serve(hub.join(PeerId("honest")), source)
        network = hub.join(PeerId("me"))
        with trio.fail_after(60):
            assert await me.sync(network).run() == 4
        scores = {peer.peer: peer.score for peer in network.stats().peers}
        assert scores["honest"] == 0
        assert (scores.get(PeerId("a-liar"), -100) <= -40) is (name not in INNOCENT)


async def test_one_honest_peer_among_four_liars_is_enough(autojump_clock, source):
    me = Beginner(source)
    async with hub_of() as hub:
        for name in ("a wrong piece", "silence", "the future", "a forged end"):
            serve_lies(hub.join(PeerId(f"a {name}")), source, **LIARS[name])
        serve(hub.join(PeerId("honest")), source)
        with trio.fail_after(60):
            assert await me.sync(hub.join(PeerId("me"))).run() == 4
    me.adopt(4)
    assert me.store.state.root == source.store.header(5 * EPOCH).state_root


@pytest.mark.parametrize("seconds", [0.1, 0.2, 0.3, 0.4])
async def test_a_kill_loses_nothing_and_an_older_state_is_brought_up_to_date(autojump_clock, seconds):
    node = chain_node()
    advance(node, 4 * EPOCH)
    me = Beginner(node)
    async with hub_of() as hub:
        serve(hub.join(PeerId("peer")), node)
        network = hub.join(PeerId("me"))
        first = me.sync(network)
        with trio.move_on_after(seconds) as killed:
            await first.run()
        assert killed.cancelled_caught
        advance(node, EPOCH, transfers=1)
        hub.leave(PeerId("peer"))
        serve(hub.join(PeerId("peer")), node)
        again = me.restarted()
        second = again.sync(network)
        assert len(second.staging.tree) == len(first.staging.tree)
        assert await second.run() == 4
    async with hub_of() as hub:
        serve(hub.join(PeerId("peer")), node)
        whole = Beginner(node).sync(hub.join(PeerId("me")))
        await whole.run()
    if len(first.staging.tree) > 20:
        assert second.pieces < whole.pieces
    again.adopt(4)
    assert again.restarted().store.head.height == 5 * EPOCH


async def test_nothing_worth_it_is_said_to_be_so(autojump_clock, source):
    me = Beginner(source)
    async with hub_of() as hub:
        serve(hub.join(PeerId("peer")), source)
        sync = me.sync(hub.join(PeerId("me")), least=1000, patience=3)
        assert "no peer" not in sync.describe()
        assert await sync.run() is None
    async with hub_of() as hub:
        sync = me.sync(hub.join(PeerId("me")), patience=3)
        assert sync.describe() == "state sync: no peer is connected"
        assert await sync.run() is None


async def test_it_says_what_it_waits_for(autojump_clock, source):
    me = Beginner(source)
    async with hub_of() as hub:
        serve_lies(hub.join(PeerId("mute")), source, pieces=silence)
        sync = me.sync(hub.join(PeerId("me")))
        with trio.move_on_after(3):
            await sync.run()
    assert sync.describe().startswith(
        "state sync to height 50: 0 entries in 0 pieces are here, 1 pieces known"
    )
    assert "last trouble: mute: timed out" in sync.describe()
