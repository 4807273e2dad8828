"""The in-memory network: what it promises, in virtual time."""

import random

import pytest
import trio
from trio.testing import MockClock

from p2p.limits import Limits
from p2p.memory import Link, open_hub
from p2p.memory_node import MemoryNetwork
from p2p.network import (
    MAX_ANNOUNCEMENT,
    Inbound,
    Lane,
    PeerConnected,
    PeerDisconnected,
    PeerId,
    RequestFailed,
    RequestFailure,
    RequestRefused,
)

A, B, C = PeerId("a"), PeerId("b"), PeerId("c")


def rng() -> random.Random:
    return random.Random(1)


async def take(node: MemoryNetwork, count: int) -> list[Inbound]:
    return [await node.inbound.receive() for _ in range(count)]


async def test_frames_arrive_once_and_in_order_of_each_lane(autojump_clock: MockClock) -> None:
    async with open_hub(rng=rng(), link=Link(delay=0.01, jitter=0.5)) as hub:
        a, b = hub.join(A), hub.join(B)
        sent = [Inbound(A, Lane(n % 2), bytes([n])) for n in range(40)]
        assert all(a.send(B, item.lane, item.payload) for item in sent)
        got = await take(b, 40)
        for lane in Lane:
            assert [i for i in got if i.lane is lane] == [i for i in sent if i.lane is lane]


async def test_same_seed_same_run(autojump_clock: MockClock) -> None:
    async def run() -> list[tuple[float, Inbound]]:
        async with open_hub(rng=rng(), link=Link(delay=0.01, jitter=1.0, loss=0.2)) as hub:
            a, b, c = hub.join(A), hub.join(B), hub.join(C)
            for n in range(50):
                a.send(C, Lane.CONSENSUS, bytes([n]))
                b.send(C, Lane.CONSENSUS, bytes([n]))
            start, got = trio.current_time(), []
            with trio.move_on_after(10):
                while True:
                    item = await c.inbound.receive()
                    got.append((round(trio.current_time() - start, 9), item))
            return got

    first = await run()
    assert 50 < len(first) < 100
    assert first == await run()


async def test_consensus_overtakes_transactions(autojump_clock: MockClock) -> None:
    async with open_hub(rng=rng()) as hub:
        a, b = hub.join(A), hub.join(B)
        for n in range(10):
            a.send(B, Lane.TRANSACTIONS, bytes([n]))
        await trio.testing.wait_all_tasks_blocked()
        a.send(B, Lane.CONSENSUS, b"first")
        await trio.testing.wait_all_tasks_blocked()
        got = await take(b, 11)
        # One transaction frame may already sit in the channel and cannot be overtaken any more.
        assert [i.payload for i in got[:2]] == [b"\x00", b"first"]


async def test_peers_of_one_lane_take_turns(autojump_clock: MockClock) -> None:
    async with open_hub(rng=rng()) as hub:
        a, b, c = hub.join(A), hub.join(B), hub.join(C)
        for _ in range(30):
            a.send(C, Lane.CONSENSUS, b"flood")
        await trio.testing.wait_all_tasks_blocked()
        b.send(C, Lane.CONSENSUS, b"one")
        await trio.testing.wait_all_tasks_blocked()
        assert Inbound(B, Lane.CONSENSUS, b"one") in await take(c, 3)


async def test_a_slow_reader_loses_nothing_that_was_accepted(autojump_clock: MockClock) -> None:
    limits = Limits(queue_frames=5, inbox_frames=3)
    async with open_hub(rng=rng(), limits=limits) as hub:
        a, b = hub.join(A), hub.join(B)
        accepted = []
        for n in range(30):
            if a.send(B, Lane.CONSENSUS, bytes([n])):
                accepted.append(bytes([n]))
            await trio.testing.wait_all_tasks_blocked()
        # 3 in the inbox, 5 on the way, 1 in the hands of the pump.
        assert len(accepted) == 9
        assert a.stats().peers[0].dropped == (21, 0)
        assert [i.payload for i in await take(b, 9)] == accepted
        assert a.send(B, Lane.CONSENSUS, b"again")


async def test_oversized_frames_are_the_senders_mistake(autojump_clock: MockClock) -> None:
    async with open_hub(rng=rng(), limits=Limits(transactions_frame=10)) as hub:
        a, _ = hub.join(A), hub.join(B)
        with pytest.raises(ValueError, match="TRANSACTIONS frame has 11 bytes, the limit is 10"):
            a.broadcast(Lane.TRANSACTIONS, bytes(11))
        with pytest.raises(
            ValueError,
            match=f"announcement has {MAX_ANNOUNCEMENT + 1} bytes, the limit is {MAX_ANNOUNCEMENT}",
        ):
            a.announce(bytes(MAX_ANNOUNCEMENT + 1))


async def test_request_and_every_way_it_fails(autojump_clock: MockClock) -> None:
    async with open_hub(rng=rng(), link=Link(delay=0.1)) as hub:
        a, b = hub.join(A), hub.join(B)

        async def echo(peer: PeerId, payload: bytes) -> bytes:
            return peer.encode() + payload

        async def sleepy(peer: PeerId, payload: bytes) -> bytes:
            await trio.sleep(5)
            return b"late"

        async def refuse(peer: PeerId, payload: bytes) -> bytes:
            raise RequestRefused("not today")

        async def broken(peer: PeerId, payload: bytes) -> bytes:
            raise KeyError("bug")

        for method, handler in (("echo", echo), ("sleepy", sleepy), ("refuse", refuse), ("broken", broken)):
            b.set_handler(method, handler, limit=8)
        assert await a.request(B, "echo", b"hi", timeout=1, limit=100) == b"ahi"

        async def failure(peer: PeerId, method: str, payload: bytes, limit: int = 100) -> tuple[object, str]:
            with pytest.raises(RequestFailed) as caught:
                await a.request(peer, method, payload, timeout=1, limit=limit)
            return caught.value.reason, caught.value.detail

        assert await failure(C, "echo", b"") == (RequestFailure.NOT_CONNECTED, "c is not connected")
        assert await failure(B, "nope", b"") == (RequestFailure.UNKNOWN_METHOD, "no handler for 'nope'")
        assert await failure(B, "refuse", b"") == (RequestFailure.REFUSED, "not today")
        assert await failure(B, "broken", b"") == (RequestFailure.PEER_FAILED, "internal error")
        assert await failure(B, "echo", bytes(9)) == (
            RequestFailure.TOO_LARGE,
            "request has 9 bytes, 'echo' takes 8",
        )
        assert await failure(B, "echo", bytes(8), limit=3) == (
            RequestFailure.TOO_LARGE,
            "answer has 9 bytes, the limit is 3",
        )
        assert await failure(B, "sleepy", b"") == (
            RequestFailure.TIMED_OUT,
            "b did not answer 'sleepy' in 1 s",
        )
        async with trio.open_nursery() as nursery:
            nursery.start_soon(failure, B, "sleepy", b"")
            await trio.sleep(0.5)
            hub.leave(B)


async def test_names_of_methods_are_checked(autojump_clock: MockClock) -> None:
    async def handler(peer: PeerId, payload: bytes) -> bytes:
        return b""

    async with open_hub(rng=rng()) as hub:
        a = hub.join(A)
        a.set_handler("sync", handler, limit=1)
        with pytest.raises(ValueError, match="method 'sync' has a handler already"):
            a.set_handler("sync", handler, limit=1)
        for name in ("", "x" * 65, "über"):
            with pytest.raises(ValueError, match="method name must be 1 to 64 ASCII characters"):
                a.set_handler(name, handler, limit=1)


async def test_leaving_joining_and_partitions_make_events(autojump_clock: MockClock) -> None:
    async with open_hub(rng=rng()) as hub:
        a, _, _ = hub.join(A), hub.join(B), hub.join(C)
        assert a.peers() == (B, C)
        assert await a.events.receive() == PeerConnected(B)
        assert await a.events.receive() == PeerConnected(C)
        hub.leave(B)
        assert await a.events.receive() == PeerDisconnected(B, "connection lost")
        b = hub.join(B)
        assert await a.events.receive() == PeerConnected(B)
        hub.partition([A], [B, C])
        assert (a.peers(), b.peers()) == ((), (C,))
        assert not a.send(B, Lane.CONSENSUS, b"lost")
        assert not hub.connect(A, B)
        hub.heal()
        assert (a.peers(), b.peers()) == ((B, C), (A, C))
        hub.leave(A)
        with pytest.raises(trio.EndOfChannel):
            await a.inbound.receive()


async def test_unread_events_are_coalesced(autojump_clock: MockClock) -> None:
    async with open_hub(rng=rng()) as hub:
        a, _ = hub.join(A), hub.join(B)
        await trio.testing.wait_all_tasks_blocked()
        for _ in range(5):
            hub.disconnect(A, B, reason="flaky")
            hub.connect(A, B)
        hub.disconnect(A, B, reason="gone")
        # The first one was already on its way out.
        assert await a.events.receive() == PeerConnected(B)
        assert await a.events.receive() == PeerDisconnected(B, "gone")
        with trio.move_on_after(1) as nothing_more:
            await a.events.receive()
        assert nothing_more.cancelled_caught


async def test_reports_ban_and_are_kept(autojump_clock: MockClock) -> None:
    async with open_hub(rng=rng()) as hub:
        a, b = hub.join(A), hub.join(B)
        for n in range(5):
            assert a.peers() == (B,)
            a.report(B, f"bad vote {n}", weight=20)
        assert (a.peers(), b.peers()) == ((), ())
        (ban,) = a.stats().bans
        assert [r.reason for r in ban.reports] == [f"bad vote {n}" for n in range(5)]
        assert not hub.connect(B, A)
        await trio.sleep(601)
        assert hub.connect(B, A)
