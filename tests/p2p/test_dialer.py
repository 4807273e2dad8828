"""Whom a node dials, and when."""

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from p2p.addresses.address_book import AddressBook
from p2p.addresses.bucket_table import BUCKET_SIZE, BUCKETS
from p2p.network import PeerId
from p2p.peers.dialer import (
    COURTESY_SECONDS,
    FIRST_PAUSE,
    FORGOTTEN_AT_ONCE,
    GIVE_UP_AFTER,
    LONGEST_PAUSE,
    Dialer,
    pause,
)
from p2p.wire.faults import Fault, PeerFault

ME = PeerId("m")
MINE, THEIRS = PeerId("n"), PeerId("a")
"""Whom we dial, and who dials us."""
WHERE = "/ip4/1.1.1.1/tcp/1"
SOURCE = "/ip4/8.8.8.8/tcp/1"


class World:
    """Peers that are there or not, and a record of who was dialed when."""

    def __init__(self) -> None:
        self.book = AddressBook(now=lambda: self.wall + trio.current_time(), secret=bytes(32))
        self.wall = 1e9
        self.there: set[PeerId] = set()
        self.banned: set[PeerId] = set()
        self.dialed: list[tuple[float, PeerId]] = []
        self.start = trio.current_time()
        self.dialer: Dialer

    async def dial(self, peer: PeerId, address: str) -> None:
        self.dialed.append((round(trio.current_time() - self.start, 3), peer))
        await trio.sleep(0.01)
        if peer not in self.there:
            raise PeerFault(Fault.CONNECTION_LOST, f"nobody at {address}")
        self.dialer.connected(peer)

    def times(self, peer: PeerId) -> list[float]:
        return [at for at, who in self.dialed if who == peer]


@asynccontextmanager
async def running(world: World, *, bootstrap: PeerId | None = None) -> AsyncIterator[Dialer]:
    if bootstrap is not None:
        world.book.pin(bootstrap, [WHERE])
    world.dialer = Dialer(
        world.book,
        local_id=ME,
        kept=frozenset([bootstrap] if bootstrap else []),
        rng=random.Random(3),
        dial=world.dial,
        may_dial=lambda peer, _: peer not in world.banned,
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.dialer.run)
        yield world.dialer
        nursery.cancel_scope.cancel()


@given(st.integers(1, 100), st.integers(0, 2**32))
def test_pauses_grow_within_bounds(failures: int, seed: int) -> None:
    seconds = pause(failures, random.Random(seed))
    longest = min(FIRST_PAUSE * 2 ** (failures - 1), LONGEST_PAUSE)
    assert longest / 2 <= seconds <= longest


async def test_a_bootstrap_peer_is_dialed_for_ever_with_growing_pauses(autojump_clock: MockClock) -> None:
    world = World()
    async with running(world, bootstrap=MINE):
        await trio.sleep(600)
        times = world.times(MINE)
        gaps = [b - a for a, b in pairwise(times)]
        assert times[0] == 0
        assert 0.5 <= gaps[0] <= 1.1
        assert all(14 <= gap <= 31 for gap in gaps[5:])
        world.there.add(MINE)
        await trio.sleep(31)
        count = len(world.times(MINE))
        await trio.sleep(100)
        assert len(world.times(MINE)) == count, "connected peers are left alone"


async def test_hearsay_that_proves_empty_is_forgotten(autojump_clock: MockClock) -> None:
    world = World()
    async with running(world) as dialer:
        dialer.heard_of(MINE, (WHERE,), source=SOURCE)
        dialer.heard_of(ME, (WHERE,), source=SOURCE)
        dialer.heard_of(THEIRS, ("nonsense",), source=SOURCE)
        await trio.sleep(1000)
        assert len(world.times(MINE)) == GIVE_UP_AFTER
        assert (world.times(ME), world.times(THEIRS), len(world.book)) == ([], [], 0)


async def test_of_two_nodes_one_dials_first(autojump_clock: MockClock) -> None:
    world = World()
    world.there |= {THEIRS, MINE}
    async with running(world) as dialer:
        dialer.heard_of(MINE, (WHERE,), source=SOURCE)
        dialer.heard_of(THEIRS, (WHERE,), source=SOURCE)
        await trio.sleep(10)
        assert world.dialed == [(0, MINE), (COURTESY_SECONDS, THEIRS)]


async def test_everyone_in_the_book_is_dialed_at_the_start(autojump_clock: MockClock) -> None:
    world = World()
    for peer in (THEIRS, MINE, ME):
        world.book.reached(peer, [WHERE])
    async with running(world):
        await trio.sleep(0.1)
        assert sorted(world.dialed) == [(0, THEIRS), (0, MINE)]


async def test_a_lost_peer_is_dialed_again_soon(autojump_clock: MockClock) -> None:
    world = World()
    world.there |= {THEIRS, MINE}
    async with running(world) as dialer:
        dialer.heard_of(MINE, (WHERE,), source=SOURCE)
        dialer.heard_of(THEIRS, (WHERE,), source=SOURCE)
        await trio.sleep(100)
        world.dialed.clear()
        dialer.lost(MINE, was_ours=True)
        dialer.lost(THEIRS, was_ours=True)
        await trio.sleep(10)
        assert 100.5 <= world.times(MINE)[0] <= 101
        assert 102.5 <= world.times(THEIRS)[0] <= 103


async def test_a_peer_that_keeps_dropping_us_is_dialed_ever_more_slowly(autojump_clock: MockClock) -> None:
    world = World()
    world.there.add(MINE)
    async with running(world, bootstrap=MINE) as dialer:
        for _ in range(400):
            await trio.sleep(0.5)
            dialer.lost(MINE, was_ours=True)
        assert 8 <= len(world.dialed) <= 20


async def test_news_of_a_peer_shortens_the_pause(autojump_clock: MockClock) -> None:
    world = World()
    async with running(world, bootstrap=MINE) as dialer:
        await trio.sleep(300)
        world.dialed.clear()
        for _ in range(20):
            dialer.heard_of(MINE, (WHERE,), source=SOURCE)
            await trio.sleep(0.2)
        assert world.dialed[0][0] <= 300 + COURTESY_SECONDS
        assert len(world.dialed) <= 2, "the same news twice is no news"


async def test_an_inbound_contact_ends_dialing(autojump_clock: MockClock) -> None:
    world = World()
    async with running(world, bootstrap=MINE) as dialer:
        await trio.sleep(5)
        dialer.connected(MINE)
        world.dialed.clear()
        await trio.sleep(300)
        assert world.dialed == []
        dialer.lost(MINE, was_ours=True)
        await trio.sleep(1.1)
        assert len(world.dialed) == 1


async def test_the_banned_are_not_dialed_until_that_ends(autojump_clock: MockClock) -> None:
    world = World()
    world.banned.add(MINE)
    async with running(world, bootstrap=MINE):
        await trio.sleep(300)
        assert world.dialed == []
        world.banned.clear()
        await trio.sleep(LONGEST_PAUSE + 0.1)
        assert len(world.times(MINE)) >= 1


async def test_all_addresses_of_a_peer_are_tried(autojump_clock: MockClock) -> None:
    world = World()
    world.book.reached(MINE, [WHERE, "/ip4/2.2.2.2/tcp/2", "/ip4/3.3.3.3/tcp/3"])
    async with running(world):
        await trio.sleep(0.2)
        assert len(world.dialed) == 3


async def test_dials_at_a_time_are_bounded(autojump_clock: MockClock) -> None:
    world = World()
    for n in range(100):
        world.book.reached(PeerId(f"z{n}"), [f"/ip4/{n + 20}.1.1.1/tcp/1"])
    async with running(world):
        await trio.sleep(0.005)
        assert len(world.dialed) == 8
        await trio.sleep(0.2)
        assert len({peer for _, peer in world.dialed}) == 100


async def test_hearsay_cannot_make_a_node_knock_everywhere(autojump_clock: MockClock) -> None:
    world = World()
    async with running(world, bootstrap=THEIRS) as dialer:
        for n in range(6000):
            dialer.heard_of(PeerId(f"z{n}"), (WHERE,), source=f"/ip4/{1 + n % 99}.{n % 251}.1.1/tcp/1")
            if n % 200 == 0:
                await trio.sleep(1)
        seconds = trio.current_time() - world.start
        assert len(world.dialed) <= 100 + 20 * seconds + 8
        assert len(world.book) <= BUCKETS * BUCKET_SIZE + 1
        assert len(world.dialer._targets) <= BUCKETS * BUCKET_SIZE + 1 + 8 + FORGOTTEN_AT_ONCE
        assert len(world.times(THEIRS)) > 3, "the bootstrap peer keeps its turn"


async def test_those_who_come_and_go_are_not_remembered_beyond_the_book(autojump_clock: MockClock) -> None:
    world = World()
    async with running(world) as dialer:
        for n in range(1000):
            dialer.connected(PeerId(f"z{n}"))
            dialer.lost(PeerId(f"z{n}"), was_ours=False)
            await trio.sleep(0.1)
        assert len(dialer._targets) <= FORGOTTEN_AT_ONCE + 1


def test_no_event_loop_is_needed_to_know_the_pause() -> None:
    with pytest.raises(RuntimeError):
        trio.current_time()
    assert pause(1, random.Random(0)) <= 1
