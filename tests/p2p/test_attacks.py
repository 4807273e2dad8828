"""What kills, blocks, swells or deafens a stock py-libp2p host; here the node lives and serves its friend.

The list is that of the measured faults of py-libp2p 0.8.1, plus one attack per stream of our own protocol.
"""

import gc
import os
import random
import resource
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import pytest
import trio
from libp2p.exceptions import BaseLibp2pError
from libp2p.stream_muxer.exceptions import MuxedStreamError

from p2p.announcer import MAX_RPC, MESHSUB
from p2p.hardening.yamux import DATA, PING, SYN, WINDOW_UPDATE, BoundedYamux
from p2p.hardening.yamux_stream import BoundedYamuxStream
from p2p.libp2p_network import Libp2pNetwork
from p2p.limits import Limits
from p2p.network import Lane, PeerId
from p2p.peers.handshake import CONTROL, EXCHANGE, LANES
from p2p.wire.control import Peers, Ping, encode
from p2p.wire.faults import PeerFault
from p2p.wire.frames import frame
from p2p.wire.protobuf import bytes_field, encode_varint
from tests.p2p.attacker import Attacker, attacker_of, delimited, is_over, yamux_frame
from tests.p2p.nodes import PATIENCE, is_alive, node, partings, peers_are, until

MULTISTREAM = delimited(b"/multistream/1.0.0\n")
IDENTIFY, LIBP2P_PING = "/ipfs/id/1.0.0", "/ipfs/ping/1.0.0"


@asynccontextmanager
async def scene(**settings: object) -> AsyncIterator[tuple[Libp2pNetwork, Libp2pNetwork, Attacker]]:
    """A victim, its honest friend, an attacker; the friend is served throughout, on one connection."""
    async with node(1, **settings) as victim, node(2, victim) as friend, attacker_of(victim) as attacker:
        await peers_are(friend, victim)
        since = friend.stats().peers[0].connected_at
        yield victim, friend, attacker
        assert await is_alive(victim, friend)
        assert friend.stats().peers[0].connected_at == since
        async with node(3, victim) as newcomer:
            await peers_are(newcomer, victim, friend)


BEFORE_NOISE = {
    "random bytes": [random.Random(1).randbytes(4000)],
    "no bytes": [],
    "protocol not utf-8": [MULTISTREAM, delimited(b"\xff\xfe\xfd\n")],
    "empty protocol": [MULTISTREAM, delimited(b"\n")],
    "line without newline": [MULTISTREAM, delimited(b"/noise")],
    "endless varint": [b"\xff" * 100],
    "huge line": [b"\xff\xff\x03" + bytes(100_000)],
    "list for ever": [MULTISTREAM, delimited(b"ls\n") * 1000],
    "plaintext": [MULTISTREAM, delimited(b"/plaintext/2.0.0\n"), bytes(100)],
    "noise junk": [MULTISTREAM, delimited(b"/noise\n"), b"\x00\x20" + bytes(32) + b"\x00\x60" + bytes(96)],
    "half a noise frame": [MULTISTREAM, delimited(b"/noise\n"), b"\xff\xff" + bytes(10)],
}


async def test_junk_before_encryption() -> None:
    async with scene() as (_, _, attacker), trio.open_nursery() as nursery:
        for packets in BEFORE_NOISE.values():
            nursery.start_soon(attacker.fire, *packets)


@pytest.mark.parametrize("protocol", [b"/plaintext/2.0.0\n", b"/secio/1.0.0\n", b"/tls/1.0.0\n", b"\n"])
async def test_only_noise_is_offered(protocol: bytes) -> None:
    async with node(1) as victim, attacker_of(victim) as attacker, attacker.socket() as stream:
        await stream.send_all(MULTISTREAM + delimited(protocol))
        answer = b""
        with trio.fail_after(PATIENCE):
            while len(answer) < len(MULTISTREAM) + 4:
                answer += await stream.receive_some()
        assert answer == MULTISTREAM + delimited(b"na\n")


async def test_idle_sockets_do_not_keep_others_out() -> None:
    async with scene(limits=Limits(max_pending=20)) as (victim, _, attacker), AsyncExitStack() as stack:
        for _ in range(60):
            await stack.enter_async_context(attacker.socket())
        await until(lambda: partings(victim, "evicted while being set up") >= 40)
        async with node(4, victim) as late:
            await peers_are(late, victim)


async def test_many_sockets_of_one_host_push_out_each_other() -> None:
    async with scene(limits=Limits(max_pending=20)) as (victim, _, attacker), AsyncExitStack() as stack:
        slow = trio.socket.socket()
        await slow.bind(("127.0.0.2", 0))
        await slow.connect((attacker.where.host, attacker.where.port))
        honest = await stack.enter_async_context(trio.SocketStream(slow))
        await until(lambda: len(victim._host._pending) == 1)
        for _ in range(60):
            await stack.enter_async_context(attacker.socket())
        await until(lambda: partings(victim, "evicted while being set up") >= 40)
        await honest.send_all(MULTISTREAM + delimited(b"/noise\n"))
        answer = b""
        with trio.fail_after(PATIENCE):
            while not answer.endswith(b"/noise\n"):
                answer += (part := await honest.receive_some())
                assert part, "the host that came first and alone was pushed out"


ON_NEW_STREAM = {
    "protocol not utf-8": MULTISTREAM + delimited(b"\xff\xfe\xfd\n"),
    "empty protocol": MULTISTREAM + delimited(b"\n"),
    "unknown protocols for ever": MULTISTREAM + delimited(b"/x\n") * 100,
    "endless varint": b"\xff" * 100,
    "huge line": b"\xff\xff\x03" + bytes(100_000),
    "wrong greeting": delimited(b"/http/1.1\n"),
    "nothing": b"",
}


async def test_junk_on_new_streams() -> None:
    async with scene() as (_, _, attacker):
        connection = await attacker.connect()
        for data in ON_NEW_STREAM.values():
            stream = await connection.open_stream()
            await stream.write(data)
        for data in ON_NEW_STREAM.values():
            stream = await connection.open_stream()
            await stream.write(data)
            await stream.reset()
        assert not connection.is_closed, "a bad stream ends alone"
        assert await attacker.host.open_stream(connection, LIBP2P_PING)


async def test_junk_for_libp2p_services() -> None:
    async with scene() as (_, _, attacker):
        for protocol in (IDENTIFY, LIBP2P_PING):
            for data in (b"", b"12345", b"\xff" * 40, os.urandom(5000)):
                for ending in ("close", "reset"):
                    stream = await attacker.open(protocol)
                    with suppress(MuxedStreamError):
                        await stream.write(data)
                        await getattr(stream, ending)()


def subscription(topic: bytes, *, subscribe: bool = True) -> bytes:
    return bytes_field(1, b"\x08" + bytes([subscribe]) + bytes_field(2, topic))


def rpc(data: bytes) -> bytes:
    return encode_varint(len(data)) + data


GOSSIP = {
    "not protobuf": rpc(b"\xff\xff\xff\xff\xff\xff garbage"),
    "bad key": rpc(bytes_field(2, bytes_field(4, b"t") + bytes_field(6, b"\xff junk"))),
    "bad author": rpc(bytes_field(2, bytes_field(1, b"\x00\x24\x08") + bytes_field(4, b"t"))),
    "junk record": rpc(subscription(b"t") + bytes_field(4, b"\xff\xffjunk")),
    "control": rpc(bytes_field(3, bytes_field(1, bytes_field(1, b"t")) + bytes_field(4, b"\xff" * 50))),
    "too large": encode_varint(50 << 20) + bytes(1000),
    "endless varint": b"\xff" * 32,
    "truncated": encode_varint(1000) + b"x" * 10,
    "field beyond the end": rpc(b"\x0a\xff\xff\x03"),
    "group": rpc(b"\x0b\x0c"),
    "many tiny fields": rpc(b"\x0a\x00" * (MAX_RPC // 2)),
    "many subscriptions": rpc(b"".join(subscription(b"%d" % n) for n in range(1000))),
}


async def test_junk_gossip() -> None:
    async with scene() as (victim, _, attacker):
        for data in GOSSIP.values():
            stream = await attacker.open(MESHSUB)
            with suppress(MuxedStreamError):
                await stream.write(data)
                await stream.close()
        victim.announce(b"to nobody")


async def never_read(connection: BoundedYamux, stream: BoundedYamuxStream) -> None:
    await connection.event_closed.wait()


async def test_a_listener_that_does_not_read_loses_only_its_own() -> None:
    async with scene() as (victim, _, attacker):
        topic = victim._announcer._topic
        attacker.host.handle(MESHSUB, never_read)
        stream = await attacker.open(MESHSUB)
        await stream.write(rpc(subscription(topic)))
        await until(lambda: victim.stats().listeners == 1)
        for _ in range(200):
            victim.announce(bytes(30_000))
            await trio.lowlevel.checkpoint()
        (listener,) = victim._announcer._guests.values()
        assert len(listener.waiting) <= 16
        await stream.write(rpc(subscription(topic, subscribe=False)))
        await until(lambda: victim.stats().listeners == 0)


async def test_changes_of_mind_open_no_streams_without_bound() -> None:
    async with scene() as (victim, _, attacker):
        topic = victim._announcer._topic
        pair = subscription(topic) + subscription(topic, subscribe=False)
        attacker.host.handle(MESHSUB, never_read)
        streams = await attacker.handshake()
        connection = streams[CONTROL].muxed_conn
        await until(lambda: attacker.peer in victim._roster.sessions)
        side = victim._roster.sessions[attacker.peer].link.connection
        for _ in range(3):
            gossip = await attacker.host.open_stream(connection, MESHSUB)
            await gossip.write(rpc(pair * 500) + rpc(subscription(topic)))
            await until(lambda: victim.stats().listeners == 1)
        assert isinstance(side, BoundedYamux)
        assert len(side._streams) <= 4 + 2, "four of the session, one gossip stream each way"


FRAMES_AGAINST_YAMUX = {
    "version": b"\x09" + bytes(11),
    "type": yamux_frame(9, 0, 1, 5),
    "own stream id": yamux_frame(WINDOW_UPDATE, SYN, 2, 0),
    "credit overflow": yamux_frame(WINDOW_UPDATE, SYN, 101, 2**32 - 1),
    "2 GiB announced": yamux_frame(DATA, 0, 1, 2**31, b"x"),
    "window ignored": yamux_frame(DATA, SYN, 103, 300_000, bytes(300_000)),
    "streams": b"".join(yamux_frame(WINDOW_UPDATE, SYN, n, 0) for n in range(201, 6201, 2)),
    "goodbye": yamux_frame(3, 0, 0, 7),
}


@pytest.mark.parametrize("name", FRAMES_AGAINST_YAMUX)
async def test_broken_multiplexing_ends_the_connection_only(name: str) -> None:
    async with scene() as (_, _, attacker):
        connection = await attacker.connect()
        with suppress(BaseLibp2pError):
            await connection.secured_conn.write(FRAMES_AGAINST_YAMUX[name])
        await is_over(connection)


async def test_a_flood_of_pings_nobody_reads_the_answers_of() -> None:
    async with scene() as (_, _, attacker):
        connection = await attacker.connect()
        connection._scope.cancel()  # The attacker's own reader stops; its socket stays open for a moment.
        with suppress(Exception):
            await connection.secured_conn.write(yamux_frame(PING, SYN, 0, 1) * 100_000)


async def test_bad_ciphertext_ends_the_connection_only() -> None:
    async with scene() as (_, _, attacker):
        connection = await attacker.connect()
        raw = connection.secured_conn.conn.read_writer.read_write_closer
        await raw.write(b"\x00\x40" + bytes(64))
        await is_over(connection)


async def test_data_nobody_reads_does_not_swell_the_node() -> None:
    async with scene() as (_, _, attacker):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        connection = await attacker.connect()
        stream = await attacker.host.open_stream(connection, LIBP2P_PING)
        packet = yamux_frame(DATA, 0, stream.stream_id, 65_000, bytes(65_000))
        with suppress(Exception):
            for _ in range(5000):  # 300 MB
                await connection.secured_conn.write(packet)
        await is_over(connection)
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        assert grown < 30_000, "kB; a stock host grows by 300 MB"


async def test_nothing_is_left_of_past_connections() -> None:
    async with node(1) as victim, node(2, victim) as friend:
        await peers_are(friend, victim)

        async def come_and_go(number: int) -> None:
            async with attacker_of(victim, number) as attacker:
                await attacker.handshake()

        await come_and_go(10)
        await until(lambda: len(victim.peers()) == 1)
        await trio.testing.wait_all_tasks_blocked(0.2)
        tasks = trio.lowlevel.current_statistics().tasks_living
        async with trio.open_nursery() as nursery:
            for number in range(11, 41):
                nursery.start_soon(come_and_go, number)
        await until(lambda: len(victim.peers()) == 1)
        await trio.testing.wait_all_tasks_blocked(0.2)
        assert trio.lowlevel.current_statistics().tasks_living == tasks
        assert len(victim._host._swarm.get_connections()) == 1
        assert (victim._connector._arriving, victim._host._pending) == ({}, {})
        assert await is_alive(victim, friend)


PEERS_OF_NONSENSE = Peers(tuple((PeerId(f"p{n}"), ("/ip4/127.0.0.1/tcp/1", "x")) for n in range(16)))

AGAINST_A_SESSION = {
    "control: type": (CONTROL, frame(b"\x99"), "malformed"),
    "control: empty": (CONTROL, frame(b""), "malformed"),
    "control: too large": (CONTROL, b"\xff\xff\xff\xff", "too large"),
    "control: flood": (CONTROL, frame(encode(Ping(1))) * 400, "flood"),
    "control: flood of news": (CONTROL, frame(encode(PEERS_OF_NONSENSE)) * 400, "flood"),
    "consensus: too large": (LANES[Lane.CONSENSUS], (4 * 1024 * 1024 + 1).to_bytes(4, "big"), "too large"),
    "transactions: too large": (LANES[Lane.TRANSACTIONS], (1024 * 1024 + 1).to_bytes(4, "big"), "too large"),
    "exchange: kind": (EXCHANGE, frame(b"\x07" + bytes(20)), "malformed"),
    "exchange: unrequested": (EXCHANGE, frame(b"\x01" + bytes(20)), "unrequested"),
    "exchange: too large": (EXCHANGE, b"\xff\xff\xff\xff", "too large"),
}


@pytest.mark.parametrize("name", AGAINST_A_SESSION)
async def test_a_peer_that_breaks_our_protocol_gets_a_reason(name: str) -> None:
    protocol, data, reason = AGAINST_A_SESSION[name]
    async with scene() as (victim, friend, attacker):
        streams = await attacker.handshake()
        await peers_are(victim, friend, attacker.peer)
        with suppress(MuxedStreamError):
            await streams[protocol].write(data)
        await is_over(streams[protocol].muxed_conn)
        assert partings(victim, reason) == 1
        report = victim._roster.scores.last_report(attacker.peer)
        assert report is not None
        assert report.reason.startswith(reason)


async def test_repeated_offences_are_a_ban() -> None:
    async with scene() as (victim, _, attacker):
        for _ in range(2):
            streams = await attacker.handshake()
            await streams[CONTROL].write(frame(b"\x99"))
            await is_over(streams[CONTROL].muxed_conn)
        with pytest.raises(PeerFault, match=r"banned: malformed: control message of type 153 \(said"):
            await attacker.handshake()
        assert len(victim.stats().bans) == 1


async def test_junk_instead_of_a_handshake() -> None:
    async with scene() as (victim, _, attacker):
        for data in (frame(b""), frame(b"\x99"), frame(encode(Ping(1))), b"\xff\xff\xff\xff", os.urandom(64)):
            stream = await attacker.open(CONTROL)
            await stream.write(data)
            await is_over(stream.muxed_conn)
        await until(lambda: partings(victim, "malformed") + partings(victim, "too large") == 5)


async def test_lanes_without_a_handshake_are_refused() -> None:
    async with scene() as (_, _, attacker):
        connection = await attacker.connect()
        for protocol in (*LANES.values(), EXCHANGE):
            stream = await attacker.host.open_stream(connection, protocol)
            with pytest.raises(MuxedStreamError):
                await stream.read()


async def test_strangers_do_not_keep_others_out() -> None:
    limits = Limits(max_strangers=10, max_outbound=3, max_inbound=2, max_kept=0, max_listeners=5)
    async with scene(limits=limits) as (_, _, attacker):
        connections = [await attacker.connect() for _ in range(limits.max_connections + 10)]
        for connection in connections[:-10]:
            await is_over(connection)
        assert not any(connection.is_closed for connection in connections[-5:])


async def test_strangers_that_do_nothing_are_sent_away() -> None:
    async with scene(limits=Limits(idle_timeout=1.0, handshake_timeout=0.5)) as (victim, _, attacker):
        half = await attacker.open(CONTROL)
        idle = await attacker.connect()
        await is_over(half.muxed_conn)
        await is_over(idle)
        await until(lambda: partings(victim, "timed out") == 1)


async def test_a_handler_that_breaks_is_our_problem_alone() -> None:
    async with scene() as (victim, friend, _):

        async def broken(_peer: PeerId, _payload: bytes) -> bytes:
            raise KeyError("bug")

        victim.set_handler("broken", broken, limit=10)
        for _ in range(3):
            with pytest.raises(Exception, match="peer failed: internal error"):
                await friend.request(victim.local_id, "broken", b"", timeout=PATIENCE, limit=10)


@pytest.mark.parametrize("number", range(3))
async def test_mixed_fuzz(number: int) -> None:
    rng = random.Random(number)
    sizes = (1, 4, 13, 60, 5000)
    async with scene() as (_, _, attacker):
        for _ in range(8):
            with suppress(PeerFault, BaseLibp2pError):
                streams = list((await attacker.handshake()).values())
                for _ in range(10):
                    stream = rng.choice(streams)
                    junk = rng.randbytes(rng.choice(sizes))
                    match rng.randrange(4):
                        case 0:
                            await stream.write(junk)
                        case 1:
                            await stream.write(frame(junk))
                        case 2:
                            await stream.muxed_conn.secured_conn.write(junk)
                        case 3:
                            await stream.reset()
    gc.collect()
