"""An attacker's libp2p: connects like anybody, then sends what it likes."""

import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import trio

from p2p.addresses.multiaddrs import parse_endpoint
from p2p.hardening.yamux import BoundedYamux
from p2p.hardening.yamux_stream import BoundedYamuxStream
from p2p.host import Host, open_host
from p2p.identity import key_pair_of
from p2p.libp2p_network import Libp2pNetwork
from p2p.limits import Limits
from p2p.network import PeerId
from p2p.peers.handshake import CONTROL, EXCHANGE, LANES, greet
from p2p.wire.control import Hello
from p2p.wire.frames import FrameReader
from tests.p2p.nodes import PATIENCE, TAG, seed


class Attacker:
    """A connection to a victim, at the level of the attack's choice."""

    def __init__(self, host: Host, victim: Libp2pNetwork) -> None:
        self.host = host
        self.victim = victim
        self.peer = PeerId(str(host._swarm.get_peer_id()))
        self.where = parse_endpoint(victim.listen_addrs[0])

    async def connect(self) -> BoundedYamux:
        return await self.host.dial(self.victim.local_id, self.where.multiaddr)

    async def open(self, protocol: str) -> BoundedYamuxStream:
        """A negotiated stream on a connection of its own."""
        return await self.host.open_stream(await self.connect(), protocol)

    async def handshake(self) -> dict[str, BoundedYamuxStream]:
        """All four streams of a session, by protocol, as an honest peer would open them."""
        connection = await self.connect()
        control = await self.host.open_stream(connection, CONTROL)
        hello = Hello(TAG, b"attacker", ())
        await greet(control, FrameReader(control), hello, lambda _: None)
        streams = {CONTROL: control}
        for protocol in (*LANES.values(), EXCHANGE):
            streams[protocol] = await self.host.open_stream(connection, protocol)
        return streams

    @asynccontextmanager
    async def socket(self) -> AsyncIterator[trio.SocketStream]:
        """A bare TCP connection."""
        stream = await trio.open_tcp_stream(self.where.host, self.where.port)
        async with stream:
            yield stream

    async def fire(self, *packets: bytes) -> None:
        """Send raw bytes on a fresh TCP connection and wait until the victim closes it, or a moment."""
        async with self.socket() as stream:
            with suppress(trio.BrokenResourceError):
                for packet in packets:
                    await stream.send_all(packet)
                with trio.move_on_after(0.1):
                    while await stream.receive_some():
                        pass


@asynccontextmanager
async def attacker_of(victim: Libp2pNetwork, number: int = 66) -> AsyncIterator[Attacker]:
    async with open_host(key_pair_of(seed(number)), (), advertise=(), limits=Limits()) as host:
        yield Attacker(host, victim)


async def is_over(connection: BoundedYamux) -> str:
    """Wait until the victim has ended the connection; says what the attacker sees."""
    with trio.fail_after(PATIENCE):
        await connection.event_closed.wait()
    return connection.closed_because


def delimited(line: bytes) -> bytes:
    """A line of a multistream negotiation."""
    size = len(line)
    prefix = bytes([size]) if size < 128 else bytes([size & 0x7F | 0x80, size >> 7])
    return prefix + line


def yamux_frame(kind: int, flags: int, stream_id: int, length: int, body: bytes = b"") -> bytes:
    return struct.pack("!BBHII", 0, kind, flags, stream_id, length) + body
