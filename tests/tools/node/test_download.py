"""Fetching blocks from several peers: who lies, stalls or boasts is found, and nobody holds a node back."""

import random

import pytest
import trio

from chain.database.memory import MemoryDatabase
from consensus.sync.block_sync import Sync
from consensus.sync.requests import BLOCKS, STATUS
from p2p.memory import Link, open_hub
from p2p.network import PeerId
from tests.tools.node import liars
from tests.tools.node.liars import Recorder
from tests.tools.node.long_chain import LongChain, document, open_chain

BLOCKS_MADE = 200
EPOCH = 24
TIMEOUT = 2.0


def fresh() -> LongChain:
    return open_chain(MemoryDatabase(), document(epoch_length=EPOCH))


@pytest.fixture(scope="module")
def source() -> LongChain:
    chain = fresh()
    trio.run(lambda: chain.grow(BLOCKS_MADE, transfers=1, direct=3))
    return chain


async def nothing(_blocks: object, _certificate: object) -> None:
    raise AssertionError("nobody syncs here")


def serve(hub, name: str, source: LongChain, lies: dict | None = None) -> None:
    recorder = Recorder()
    Sync(recorder, source.ledger, nothing, request_timeout=TIMEOUT, poll_interval=2.0).register()
    recorder.serve(hub.join(PeerId(name)), lies or {})


async def catch_up(hub, chain: LongChain, seconds: float):
    """Follow until the head is here; seconds that it took, and the network's statistics."""
    network = hub.join(PeerId("me"))
    async with trio.open_nursery() as nursery:
        done = trio.Event()

        async def deliver(blocks, certificate) -> None:
            for block in blocks:
                await chain.ledger.validate(block)
            await chain.ledger.finalize(blocks, certificate)
            if chain.store.head.height == BLOCKS_MADE:
                done.set()

        sync = Sync(network, chain.ledger, deliver, request_timeout=TIMEOUT, poll_interval=2.0)
        nursery.start_soon(sync.run)
        began = trio.current_time()
        with trio.move_on_after(seconds):
            await done.wait()
        took = trio.current_time() - began
        if done.is_set():
            await trio.sleep(5)  # for whoever claims more than there is
        said = sync.describe()
        nursery.cancel_scope.cancel()
    return took, network.stats(), said


LIARS = {
    "wrong blocks": ({BLOCKS: liars.wrong_blocks}, "bad batch"),
    "rubbish": ({BLOCKS: liars.rubbish}, "bad batch"),
    "half an answer": ({BLOCKS: liars.truncated}, "bad batch"),
    "a malformed status": ({STATUS: liars.rubbish}, "malformed status"),
    "silence": ({BLOCKS: liars.silence}, ""),
    "a trickle": ({BLOCKS: liars.one_block}, ""),
    "a height that is not": ({STATUS: liars.far_height}, "claims height 1073741824, did not bring height"),
    "refusals": ({BLOCKS: liars.refusal}, "refused: not today"),
}
INNOCENT = {"silence", "a trickle", "a height that is not", "refusals"}
"""What an honest peer in trouble may look like costs it next to nothing."""


@pytest.mark.parametrize("name", LIARS)
async def test_a_liar_holds_nobody_back(autojump_clock, source, name):
    lies, complaint = LIARS[name]
    chain = fresh()
    async with open_hub(rng=random.Random(1), link=Link(delay=0.01)) as hub:
        serve(hub, "a-liar", source, lies)
        serve(hub, "honest", source)
        took, stats, _ = await catch_up(hub, chain, 120)
    assert chain.store.head.digest == source.store.head.digest
    assert took < 15
    scores = {peer.peer: peer.score for peer in stats.peers}
    reasons = [peer.last_report.reason for peer in stats.peers if peer.last_report]
    reasons += [ban.reports[-1].reason for ban in stats.bans]
    assert scores["honest"] == 0
    assert (scores.get("a-liar", -100) <= -40) is (name not in INNOCENT)
    assert not complaint or any(complaint in reason for reason in reasons), reasons


async def one_late(told: bytes) -> bytes:
    """The first block of an answer, just before the questioner's patience ends."""
    await trio.sleep(0.5 * TIMEOUT)
    return await liars.one_block(told)


async def test_who_claims_most_and_brings_little_does_not_keep_the_others_from_being_asked(autojump_clock):
    """The chain grows by a block a second; what the others claim at first, it has soon passed."""
    source, chain = fresh(), fresh()
    await source.grow(60, transfers=0)
    async with open_hub(rng=random.Random(1), link=Link(delay=0.05)) as hub, trio.open_nursery() as nursery:
        for number in range(3):
            serve(hub, f"honest-{number}", source)
        serve(hub, "a-liar", source, {STATUS: liars.far_height, BLOCKS: one_late})

        async def deliver(blocks, certificate) -> None:
            await chain.ledger.finalize(blocks, certificate)

        network = hub.join(PeerId("me"))
        sync = Sync(network, chain.ledger, deliver, request_timeout=TIMEOUT, poll_interval=2.0)
        nursery.start_soon(sync.run)
        was_level = False
        for _ in range(120):
            await trio.sleep(1)
            await source.grow(1, transfers=0)
            was_level = was_level or sync.is_level
        assert source.store.head.height - chain.store.head.height < 10
        assert was_level
        assert all(peer.score == 0 for peer in network.stats().peers if peer.peer != "a-liar")
        nursery.cancel_scope.cancel()


async def test_several_peers_are_asked_at_once(autojump_clock, source):
    """On links of half a second, and with one question a peer, four peers are quicker than one."""
    seconds: dict[int, float] = {}
    for peers in (1, 4):
        chain = fresh()
        async with open_hub(rng=random.Random(1), link=Link(delay=0.5)) as hub:
            for number in range(peers):
                serve(hub, f"peer-{number}", source)
            seconds[peers], _, _ = await catch_up(hub, chain, 600)
        assert chain.store.head.digest == source.store.head.digest
    assert seconds[4] < 0.75 * seconds[1]


async def test_it_says_what_it_waits_for_and_from_whom(autojump_clock, source):
    chain = fresh()
    async with open_hub(rng=random.Random(1), link=Link(delay=0.01)) as hub:
        serve(hub, "mute", source, {BLOCKS: liars.silence})
        _, _, said = await catch_up(hub, chain, 3)
    assert said.startswith("height 0 of 200 that mute claims; waits for blocks 1 to 16 from mute")
