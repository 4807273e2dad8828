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

from p2p.address_book import MAX_KNOWN, AddressBook
from p2p.dialer import COURTESY_SECONDS, FIRST_PAUSE, GIVE_UP_AFTER, LONGEST_PAUSE, Dialer, pause
from p2p.faults import Fault, PeerFault
from p2p.network import PeerId

ME, LOWER, HIGHER = PeerId("m"), PeerId("a"), PeerId("z")
WHERE = "/ip4/1.1.1.1/tcp/1"


class World:
    """Peers that are there or not, and a record of who was dialed when."""

    def __init__(self) -> None:
        self.book = AddressBook()
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
        world.book.see(bootstrap, [WHERE])
    world.dialer = Dialer(
        world.book,
        local_id=ME,
        bootstrap=frozenset([bootstrap] if bootstrap else []),
        rng=random.Random(3),
        dial=world.dial,
        may_dial=lambda peer: peer not in world.banned,
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
    async with running(world, bootstrap=HIGHER):
        await trio.sleep(600)
        times = world.times(HIGHER)
        gaps = [b - a for a, b in pairwise(times)]
        assert times[0] == 0
        assert 0.5 <= gaps[0] <= 1.1
        assert all(14 <= gap <= 31 for gap in gaps[5:])
        world.there.add(HIGHER)
        await trio.sleep(31)
        count = len(world.times(HIGHER))
        await trio.sleep(100)
        assert len(world.times(HIGHER)) == count, "connected peers are left alone"


async def test_hearsay_that_proves_empty_is_forgotten(autojump_clock: MockClock) -> None:
    world = World()
    async with running(world) as dialer:
        dialer.heard_of(HIGHER, (WHERE,))
        dialer.heard_of(ME, (WHERE,))
        dialer.heard_of(LOWER, ("nonsense",))
        await trio.sleep(1000)
        assert len(world.times(HIGHER)) == GIVE_UP_AFTER
        assert (world.times(ME), world.times(LOWER), len(world.book)) == ([], [], 0)


async def test_of_two_nodes_the_lower_id_dials_first(autojump_clock: MockClock) -> None:
    world = World()
    world.there |= {LOWER, HIGHER}
    async with running(world) as dialer:
        dialer.heard_of(HIGHER, (WHERE,))
        dialer.heard_of(LOWER, (WHERE,))
        await trio.sleep(10)
        assert world.dialed == [(0, HIGHER), (COURTESY_SECONDS, LOWER)]


async def test_everyone_in_the_book_is_dialed_at_the_start(autojump_clock: MockClock) -> None:
    world = World()
    for peer in (LOWER, HIGHER, ME):
        world.book.see(peer, [WHERE])
    async with running(world):
        await trio.sleep(0.1)
        assert sorted(world.dialed) == [(0, LOWER), (0, HIGHER)]


async def test_a_lost_peer_is_dialed_again_soon(autojump_clock: MockClock) -> None:
    world = World()
    world.there |= {LOWER, HIGHER}
    async with running(world) as dialer:
        dialer.heard_of(HIGHER, (WHERE,))
        dialer.heard_of(LOWER, (WHERE,))
        await trio.sleep(100)
        world.dialed.clear()
        dialer.lost(HIGHER)
        dialer.lost(LOWER)
        await trio.sleep(10)
        assert 100.5 <= world.times(HIGHER)[0] <= 101
        assert 102.5 <= world.times(LOWER)[0] <= 103


async def test_a_peer_that_keeps_dropping_us_is_dialed_ever_more_slowly(autojump_clock: MockClock) -> None:
    world = World()
    world.there.add(HIGHER)
    async with running(world, bootstrap=HIGHER) as dialer:
        for _ in range(400):
            await trio.sleep(0.5)
            dialer.lost(HIGHER)
        assert 8 <= len(world.dialed) <= 20


async def test_news_of_a_peer_shortens_the_pause(autojump_clock: MockClock) -> None:
    world = World()
    async with running(world, bootstrap=HIGHER) as dialer:
        await trio.sleep(300)
        world.dialed.clear()
        for _ in range(20):
            dialer.heard_of(HIGHER, (WHERE,))
            await trio.sleep(0.2)
        assert world.dialed[0][0] <= 300 + COURTESY_SECONDS
        assert len(world.dialed) <= 2, "the same news twice is no news"


async def test_an_inbound_contact_ends_dialing(autojump_clock: MockClock) -> None:
    world = World()
    async with running(world, bootstrap=HIGHER) as dialer:
        await trio.sleep(5)
        dialer.connected(HIGHER)
        world.dialed.clear()
        await trio.sleep(300)
        assert world.dialed == []
        dialer.lost(HIGHER)
        await trio.sleep(1.1)
        assert len(world.dialed) == 1


async def test_the_banned_are_not_dialed_until_that_ends(autojump_clock: MockClock) -> None:
    world = World()
    world.banned.add(HIGHER)
    async with running(world, bootstrap=HIGHER):
        await trio.sleep(300)
        assert world.dialed == []
        world.banned.clear()
        await trio.sleep(LONGEST_PAUSE + 0.1)
        assert len(world.times(HIGHER)) >= 1


async def test_all_addresses_of_a_peer_are_tried(autojump_clock: MockClock) -> None:
    world = World()
    world.book.see(HIGHER, [WHERE, "/ip4/2.2.2.2/tcp/2", "/dns/x/tcp/3"])
    async with running(world):
        await trio.sleep(0.2)
        assert len(world.dialed) == 3


async def test_dials_at_a_time_are_bounded(autojump_clock: MockClock) -> None:
    world = World()
    for n in range(100):
        world.book.see(PeerId(f"z{n}"), [WHERE])
    async with running(world):
        await trio.sleep(0.005)
        assert len(world.dialed) == 8
        await trio.sleep(0.2)
        assert len({peer for _, peer in world.dialed}) == 100


async def test_hearsay_cannot_make_a_node_knock_everywhere(autojump_clock: MockClock) -> None:
    world = World()
    async with running(world, bootstrap=LOWER) as dialer:
        for n in range(20_000):
            dialer.heard_of(PeerId(f"z{n}"), (WHERE,))
            if n % 200 == 0:
                await trio.sleep(1)
        seconds = trio.current_time() - world.start
        assert len(world.dialed) <= 100 + 20 * seconds + 8
        assert len(world.book) <= MAX_KNOWN + 1
        assert len(world.dialer._targets) <= MAX_KNOWN + 1 + 8
        assert len(world.times(LOWER)) > 3, "the bootstrap peer keeps its turn"


def test_no_event_loop_is_needed_to_know_the_pause() -> None:
    with pytest.raises(RuntimeError):
        trio.current_time()
    assert pause(1, random.Random(0)) <= 1
