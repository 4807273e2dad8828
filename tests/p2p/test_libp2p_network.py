"""Nodes over real sockets on loopback."""

import logging
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import trio

from p2p.addresses.multiaddrs import parse_endpoint
from p2p.limits import Limits
from p2p.network import (
    Direction,
    Inbound,
    Lane,
    PeerConnected,
    PeerDisconnected,
    PeerId,
    RequestFailed,
    RequestFailure,
)
from p2p.peers.pairing import dials
from tests.p2p.nodes import PATIENCE, config, is_alive, node, partings, peers_are, take, until


async def test_four_nodes_become_a_mesh_from_one_bootstrap() -> None:
    async with AsyncExitStack() as stack:
        nodes = [await stack.enter_async_context(node(1))]
        for n in range(2, 5):
            nodes.append(await stack.enter_async_context(node(n, nodes[0])))
        for here in nodes:
            await peers_are(here, *(other for other in nodes if other is not here))
        for n, here in enumerate(nodes):
            assert here.broadcast(Lane.CONSENSUS, b"from %d" % n) == 3
        for n, here in enumerate(nodes):
            got = {item.payload for item in await take(here, 3)}
            assert got == {b"from %d" % other for other in range(4) if other != n}


async def test_a_peer_with_many_addresses_is_passed_on_with_a_few() -> None:
    addresses = tuple(f"/ip4/127.0.0.1/tcp/{port}" for port in range(1, 5))
    async with node(1) as a, node(2, a, advertise=addresses) as b, node(3, a) as c:
        await peers_are(a, b, c)
        a._book.hear(b.local_id, ["/ip4/127.0.0.1/tcp/9"], source="")
        assert len(a._book.addresses(b.local_id)) == 5
        async with node(4, a) as d:
            await until(lambda: d._book.addresses(b.local_id) == addresses)
            assert a.local_id in d.peers()


async def test_two_nodes_that_dial_each_other_keep_one_connection() -> None:
    async with node(1) as a, node(2) as b:
        for here, other in ((a, b), (b, a)):
            here._dialer.heard_of(other.local_id, (other.listen_addrs[0].partition("/p2p/")[0],), source="")
            here._dialer._targets[other.local_id].next_at = 0
        first, second = (a, b) if dials(a.local_id, b.local_id) else (b, a)

        def settled() -> bool:
            directions = [peer.direction for net in (first, second) for peer in net.stats().peers]
            return directions == [Direction.OUTBOUND, Direction.INBOUND]

        await until(settled)
        assert await is_alive(a, b)
        assert await is_alive(b, a)
        assert settled()


async def test_large_frames_and_answers_arrive_whole() -> None:
    async with node(1) as a, node(2, a) as b:
        await peers_are(b, a)
        block = bytes(range(256)) * (4 * 4096)
        assert len(block) == 4 * 1024 * 1024
        assert b.send(a.local_id, Lane.CONSENSUS, block)
        assert b.send(a.local_id, Lane.CONSENSUS, b"")
        assert await take(a, 2) == [
            Inbound(b.local_id, Lane.CONSENSUS, block),
            Inbound(b.local_id, Lane.CONSENSUS, b""),
        ]
        with pytest.raises(ValueError, match="CONSENSUS frame has 4194305 bytes, the limit is 4194304"):
            b.broadcast(Lane.CONSENSUS, block + b"!")

        async def big(_peer: PeerId, _payload: bytes) -> bytes:
            return block * 2

        a.set_handler("big", big, limit=0)
        assert await b.request(a.local_id, "big", b"", timeout=PATIENCE, limit=8 << 20) == block * 2


async def test_consensus_overtakes_a_lane_full_of_transactions() -> None:
    async with node(1) as a, node(2, a) as b:
        await peers_are(b, a)
        batch = bytes(1_000_000)
        sent = 0
        while b.send(a.local_id, Lane.TRANSACTIONS, batch):
            sent += 1
        assert b.send(a.local_id, Lane.CONSENSUS, b"vote")
        assert b.stats().peers[0].dropped == (0, 1)
        # Nobody reads the inbox of `a` until the lane has come to a halt at both ends.
        for _ in range(3):
            await is_alive(a, b)
        got = await take(a, sent + 1)
        position = [item.lane for item in got].index(Lane.CONSENSUS)
        assert position <= 2, "at most what the pump already held comes before it"


async def test_requests_fail_with_their_reason() -> None:
    async with node(1) as a, node(2, a) as b:
        await peers_are(b, a)

        async def never(_peer: PeerId, _payload: bytes) -> bytes:
            await trio.sleep_forever()
            raise AssertionError

        a.set_handler("never", never, limit=0)

        async def failure(peer: PeerId, method: str, size: int, limit: int) -> RequestFailure:
            with pytest.raises(RequestFailed) as caught:
                await b.request(peer, method, bytes(size), timeout=0.2, limit=limit)
            return caught.value.reason

        assert await failure(a.local_id, "never", 0, 1) is RequestFailure.TIMED_OUT
        assert await failure(a.local_id, "nope", 0, 1) is RequestFailure.UNKNOWN_METHOD
        assert await failure(a.local_id, "never", 1, 1) is RequestFailure.TOO_LARGE
        assert await failure(a.local_id, "echo", 2, 1) is RequestFailure.TOO_LARGE
        assert await failure(PeerId("nobody"), "echo", 0, 1) is RequestFailure.NOT_CONNECTED
        assert await is_alive(a, b)
        assert b.stats().peers[0].score == 0


async def test_another_chain_is_no_peer() -> None:
    async with node(1) as a, node(2, a, chain_tag=b"x" * 32) as b, node(3, a) as c:
        await peers_are(c, a)
        await until(lambda: min(partings(a, "wrong chain"), partings(b, "wrong chain")) > 0)
        assert (a.peers(), b.peers()) == ((c.local_id,), ())
        assert a.stats().peers[0].score == 0


async def test_a_banned_peer_is_cut_off_and_stays_out() -> None:
    async with node(1) as a, node(2, a) as b, node(3, a) as c:
        await peers_are(a, b, c)
        await peers_are(b, a, c)
        for n in range(5):
            a.report(b.local_id, f"lie {n}")
        await peers_are(a, c)
        await peers_are(b, c)
        (ban,) = a.stats().bans
        assert (ban.peer, [r.reason for r in ban.reports]) == (b.local_id, [f"lie {n}" for n in range(5)])
        # Cut off, then refused when it dialed again.
        await until(lambda: partings(b, "banned") >= 2)
        assert await is_alive(a, c)


async def test_a_full_node_refuses_but_keeps_its_own() -> None:
    async with node(1, limits=Limits(max_inbound=1)) as a, node(2, a) as b:
        await peers_are(a, b)
        async with node(3, a) as c:
            await until(lambda: partings(c, "full") > 0)
            assert a.peers() == (b.local_id,)
            assert await is_alive(a, b)


async def test_leaving_and_coming_back() -> None:
    async with node(1) as a:
        async with node(2, a) as b:
            await peers_are(a, b)
        assert await a.events.receive() == PeerDisconnected(
            b.local_id, "shutting down: the node stops (said the peer)"
        )
        async with node(2, a) as again:
            await peers_are(a, again)
            assert await is_alive(a, again)


async def test_a_lost_connection_comes_back_by_itself() -> None:
    async with node(1) as a, node(2, a) as b:
        await peers_are(a, b)
        a._roster.sessions[b.local_id].link.connection.end("cable pulled")
        with trio.fail_after(PATIENCE):
            assert isinstance(await a.events.receive(), PeerDisconnected)
            assert await a.events.receive() == PeerConnected(b.local_id)
        await peers_are(b, a)
        assert await is_alive(a, b)


async def test_a_node_without_bootstrap_finds_its_way_by_its_book(tmp_path: Path) -> None:
    book = tmp_path / "peers.json"
    async with node(1) as a:
        async with node(2, a, address_book=book) as b:
            await peers_are(b, a)
        async with node(2, address_book=book) as again:
            await peers_are(again, a)


async def test_a_taken_port_is_an_error_and_not_shared() -> None:
    async with node(1) as a:
        endpoint = parse_endpoint(a.listen_addrs[0])
        with pytest.raises(OSError, match=rf"cannot listen on 127.0.0.1 port {endpoint.port}"):
            async with node(2, listen=(endpoint.multiaddr,)):
                raise AssertionError("started on a taken port")


async def test_an_error_of_the_caller_comes_out_as_it_is() -> None:
    error = KeyError("the caller's")

    async def fail_inside() -> None:
        async with node(1) as a, node(2, a) as b:
            await peers_are(b, a)
            raise error

    with pytest.raises(KeyError) as caught:
        await fail_inside()
    assert caught.value is error


async def test_a_node_does_not_stay_connected_to_itself() -> None:
    async with node(1) as a, node(2, a) as b:
        await peers_are(a, b)
        a._dialer.heard_of(a.local_id, (parse_endpoint(a.listen_addrs[0]).multiaddr,), source="")
        assert a.local_id not in a._dialer._targets


async def test_a_peer_that_lies_about_its_id_is_found_out(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "libp2p")
    async with node(1) as a, node(2) as b, node(3) as c:
        address = parse_endpoint(a.listen_addrs[0]).multiaddr
        async with node(4, bootstrap=(f"{address}/p2p/{b.local_id}", *c.listen_addrs)) as d:
            await peers_are(d, c)
            await until(lambda: any(target.failures for target in d._dialer._targets.values()))
            assert (a.peers(), d.peers()) == ((), (c.local_id,))


async def test_stats_count() -> None:
    async with node(1) as a, node(2, a) as b:
        await peers_are(b, a)
        b.send(a.local_id, Lane.CONSENSUS, bytes(1000))
        await take(a, 1)
        (of_a,), (of_b,) = a.stats().peers, b.stats().peers
        assert (of_a.frames_in, of_b.frames_out) == (1, 1)
        assert of_a.bytes_in > 1000
        assert of_b.bytes_out > 1000
        assert of_b.address == parse_endpoint(a.listen_addrs[0]).multiaddr
        assert (a.stats().known, b.stats().known) == (1, 1)


def test_a_config_for_tests_is_repeatable() -> None:
    assert config(1).rng.random() == config(1).rng.random()
