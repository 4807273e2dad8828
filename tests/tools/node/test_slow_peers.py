"""Beginning with a state among peers that are mute or take their time: nobody holds a place for good."""

from collections.abc import Callable

import pytest
import trio

from chain.codec import decode, encode
from consensus.sync.crew import Crew
from consensus.sync.snapshots import EpochsResponse
from consensus.sync.state_sync import MAX_WORKERS
from p2p.network import PeerId
from tests.tools.chain_node import chain_node
from tests.tools.node.test_state_sync import (
    EPOCH,
    Beginner,
    advance,
    claim_of_the_future,
    hub_of,
    serve,
    serve_lies,
    silence,
    small_pieces,
    source,
    trickle,
)

__all__ = ["small_pieces", "source"]


async def one_end_late(_question: bytes, told: bytes) -> bytes:
    await trio.sleep(0.9)
    return encode(EpochsResponse(decode(EpochsResponse, told, limit=1 << 22).ends[:1]))


async def test_a_mute_peer_that_was_there_first_does_not_end_the_search(autojump_clock, source):
    """The first round lasts as long as the patience; the others come in the middle of it."""
    me = Beginner(source)
    async with hub_of() as hub, trio.open_nursery() as nursery:
        serve_lies(hub.join(PeerId("mute")), source, offers=silence)
        sync = me.sync(hub.join(PeerId("me")), patience=0.95)

        async def come_later() -> None:
            await trio.sleep(0.3)
            serve(hub.join(PeerId("honest")), source)

        nursery.start_soon(come_later)
        assert await sync.run() == 4


async def test_as_many_slow_peers_as_there_are_workers_do_not_keep_out_a_quick_one(autojump_clock, source):
    me = Beginner(source)
    async with hub_of() as hub:
        for number in range(MAX_WORKERS):
            serve_lies(hub.join(PeerId(f"a-slow-{number}")), source, pieces=trickle)
        serve(hub.join(PeerId("honest")), source)
        began = trio.current_time()
        assert await me.sync(hub.join(PeerId("me"))).run() == 4
        assert trio.current_time() - began < 8


async def test_who_claims_the_latest_epoch_and_brings_one_end_at_a_time_is_not_waited_for(autojump_clock):
    node = chain_node()
    advance(node, 30 * EPOCH + 3, transfers=0)
    me = Beginner(node)
    async with hub_of() as hub:
        serve_lies(hub.join(PeerId("a-slow")), node, epochs=one_end_late, offers=claim_of_the_future)
        serve(hub.join(PeerId("honest")), node)
        began = trio.current_time()
        assert await me.sync(hub.join(PeerId("me"))).run() == 29
        assert trio.current_time() - began < 5


PEERS = tuple(PeerId(name) for name in ("a", "b", "c"))


@pytest.mark.parametrize("quick", [0, 1, 2])
async def test_a_crew_keeps_the_quickest_it_has_tried(autojump_clock, quick: int):
    crew = Crew(1)
    seen: list[PeerId] = []

    async def work(peer: PeerId, pieces: Callable[[], int]) -> None:
        seen.append(peer)
        with crew.place_of(peer):
            while True:
                await trio.sleep(0.5)
                crew.brought(peer, pieces())

    async with trio.open_nursery() as nursery:
        for _ in range(8):
            for peer in crew.hire(PEERS):
                nursery.start_soon(work, peer, lambda peer=peer: 10 if peer == PEERS[quick] else 1)
            assert len(crew.at_work) <= 2, "one more than there is room for, until the other has gone"
            await trio.sleep(2)
        assert crew.at_work == (PEERS[quick],)
        assert set(seen) == set(PEERS)
        nursery.cancel_scope.cancel()
