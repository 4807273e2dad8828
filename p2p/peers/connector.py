"""Turns connections into sessions, whoever dialed: handshake, the other three streams, admission."""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import trio

from p2p.addresses.multiaddrs import Endpoint
from p2p.hardening.yamux import BoundedYamux
from p2p.hardening.yamux_stream import BoundedYamuxStream
from p2p.host import Host, StreamHandler
from p2p.network import Direction, PeerId
from p2p.peers.handshake import CONTROL, EXCHANGE, LANES, answer, greet
from p2p.peers.session import Caller, Link, Streams, say_goodbye
from p2p.wire.control import Hello
from p2p.wire.faults import Fault, PeerFault
from p2p.wire.frames import FrameReader

_REST: Final = (*LANES.values(), EXCHANGE)
"""Protocols of the streams that the dialer opens after the handshake."""

Check = Callable[[Caller, Hello], object]
"""Raises `PeerFault` if we do not want this peer."""

Blame = Callable[[PeerId, PeerFault], None]
"""Told of each handshake that failed."""

Live = Callable[[], Awaitable[None]]
"""Lives a session until its connection ends."""

Enter = Callable[[Link, Streams], Live]
"""Admits a session, or raises `PeerFault`."""


@dataclass(slots=True, eq=False)
class _Arriving:
    """Streams of a connection whose dialer is still opening them."""

    streams: dict[str, BoundedYamuxStream] = field(default_factory=dict)
    complete: trio.Event = field(default_factory=trio.Event)


class Connector:
    """Makes sessions on the connections of a host."""

    def __init__(self, host: Host, hello: Hello, *, check: Check, enter: Enter, blame: Blame) -> None:
        self._host = host
        self._hello = hello
        self._check = check
        self._enter = enter
        self._blame = blame
        self._seconds = host.limits.handshake_timeout
        self._arriving: dict[BoundedYamux, _Arriving] = {}
        host.handle(CONTROL, self._on_control)
        for protocol in _REST:
            host.handle(protocol, self._taker_of(protocol))

    async def dial(self, peer: PeerId, address: str, *, near: bool = False) -> Live:
        """Connect to `peer` and have a session admitted; the caller then lives it.

        If `address` is a name it may lead to what is near us only if `near`.

        Raises:
            PeerFault: The peer is not there, or one of us does not want the other.
        """
        connection = await self._host.dial(peer, address, near=near)
        caller = Caller(peer, Direction.OUTBOUND, _remote(connection).host)
        with self._ended_on_fault(connection, peer):
            with self._deadline():
                control = await self._host.open_stream(connection, CONTROL)
                reader = FrameReader(control)
                theirs = await greet(control, reader, self._hello, partial(self._check, caller))
                opened = await self._open_rest(connection)
            link = Link(caller, address, connection, theirs, trio.current_time())
            return await self._admit(link, _streams(control, reader, opened))

    async def _on_control(self, connection: BoundedYamux, control: BoundedYamuxStream) -> None:
        """A peer dialed us and starts the handshake; this task becomes its session."""
        peer = PeerId(str(connection.peer_id))
        remote = _remote(connection)
        caller = Caller(peer, Direction.INBOUND, remote.host)
        arriving = self._arriving[connection] = _Arriving()
        reader = FrameReader(control)
        with self._ended_on_fault(connection, peer):
            try:
                with self._deadline():
                    theirs = await answer(control, reader, self._hello, partial(self._check, caller))
                    await arriving.complete.wait()
            finally:
                self._arriving.pop(connection, None)
            address = remote.multiaddr if remote.host else ""
            link = Link(caller, address, connection, theirs, trio.current_time())
            live = await self._admit(link, _streams(control, reader, arriving.streams))
        await live()

    def _taker_of(self, protocol: str) -> StreamHandler:
        async def take(connection: BoundedYamux, stream: BoundedYamuxStream) -> None:
            arriving = self._arriving.get(connection)
            if arriving is None or protocol in arriving.streams:
                await stream.reset()
                return
            arriving.streams[protocol] = stream
            if len(arriving.streams) == len(_REST):
                arriving.complete.set()

        return take

    async def _open_rest(self, connection: BoundedYamux) -> dict[str, BoundedYamuxStream]:
        opened: dict[str, BoundedYamuxStream] = {}
        faults: list[PeerFault] = []

        async def open_one(protocol: str) -> None:
            try:
                opened[protocol] = await self._host.open_stream(connection, protocol)
            except PeerFault as fault:
                faults.append(fault)

        async with trio.open_nursery() as nursery:
            for protocol in _REST:
                nursery.start_soon(open_one, protocol)
        if faults:
            raise faults[0]
        return opened

    async def _admit(self, link: Link, streams: Streams) -> Live:
        try:
            return self._enter(link, streams)
        except PeerFault as fault:
            await say_goodbye(streams.control, fault)
            raise

    @contextmanager
    def _deadline(self) -> Iterator[None]:
        try:
            with trio.fail_after(self._seconds):
                yield
        except trio.TooSlowError as error:
            raise PeerFault(Fault.TIMED_OUT, f"no handshake in {self._seconds} s") from error

    @contextmanager
    def _ended_on_fault(self, connection: BoundedYamux, peer: PeerId) -> Iterator[None]:
        try:
            yield
        except PeerFault as fault:
            self._blame(peer, fault)
            connection.end(str(fault))
            raise
        except BaseException:
            connection.end("cancelled")
            raise


def _remote(connection: BoundedYamux) -> Endpoint:
    """The other end of the socket; without a host if it is gone already."""
    return Endpoint(*(connection.get_remote_address() or ("", 0)))


def _streams(
    control: BoundedYamuxStream, reader: FrameReader, rest: dict[str, BoundedYamuxStream]
) -> Streams:
    return Streams(
        control=control,
        control_reader=reader,
        lanes={lane: rest[protocol] for lane, protocol in LANES.items()},
        exchange=rest[EXCHANGE],
    )
