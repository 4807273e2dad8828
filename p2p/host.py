"""The libp2p host of a node: our listeners and dials in front of a hardened `BasicHost`.

The host's own listener and dialer are not used. Its listener shares its port with any other process, keeps
an inbound slot for ever once a connection took it, and runs as a system task that a test cannot contain; its
dialer waits 250 ms and refuses a peer for a minute after one failure. Both are a dozen lines without that.
"""

import logging
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Final

import trio
from libp2p.abc import INetStream
from libp2p.crypto.keys import KeyPair
from libp2p.host.basic_host import BasicHost
from libp2p.network.connection.raw_connection import RawConnection
from libp2p.peer.id import ID
from libp2p.protocol_muxer.multiselect_communicator import MultiselectCommunicator
from multiaddr import Multiaddr

from p2p.addresses.groups import group_of_host
from p2p.addresses.lookups import Lookups
from p2p.addresses.multiaddrs import Endpoint, parse_endpoint
from p2p.hardening.install import install
from p2p.hardening.swarm import NEGOTIATION_SECONDS, build_host
from p2p.hardening.tcp import ExactTcpStream, open_exclusive_listener
from p2p.hardening.yamux import BoundedYamux
from p2p.hardening.yamux_stream import BoundedYamuxStream
from p2p.limits import Limits
from p2p.network import PeerId
from p2p.wire.faults import Fault, PeerFault

log = logging.getLogger(__name__)

CLOSING_SECONDS: Final = 2.0
"""Patience with connections that are slow to close when the node stops."""


_SOME_ADDRESS: Final = Multiaddr("/ip4/0.0.0.0/tcp/0")
"""The library wants the listener's address for its debug log."""

StreamHandler = Callable[[BoundedYamux, BoundedYamuxStream], Awaitable[None]]


class Host:
    """Opens and accepts connections; made by `open_host`."""

    def __init__(self, basic: BasicHost, listeners: Sequence[trio.SocketListener], *, limits: Limits) -> None:
        self.endpoints = tuple(_endpoint_of(listener) for listener in listeners)
        """Where we listen, with the ports that the system chose."""
        self.evicted = 0
        self._basic = basic
        self._swarm = basic.get_network()
        self._listeners = list(listeners)
        self.limits = limits
        self._lookups = Lookups()
        self._pending: dict[trio.CancelScope, str] = {}
        """Connections being set up, the oldest first, and whose share each counts against."""

    def handle(self, protocol: str, handler: StreamHandler) -> None:
        """Have `handler` take the streams that peers open for `protocol`."""

        async def handle_stream(stream: INetStream) -> None:
            await handler(stream.muxed_conn, stream.muxed_stream)

        self._basic.set_stream_handler(protocol, handle_stream)

    async def accept(self, live: Callable[[BoundedYamux], Awaitable[None]]) -> None:
        """Accept connections for ever; `live` is called for each that got through the upgrade.

        Cures: an inbound slot of the library was freed when the swarm ended, not when the connection did, so
        a node grew deaf after 250 inbound connections in its life.
        """

        async def serve(stream: trio.SocketStream) -> None:
            connection = await self._upgrade(stream)
            if connection is not None:
                await live(connection)
                await connection.event_closed.wait()

        await trio.serve_listeners(serve, self._listeners)

    async def dial(self, peer: PeerId, address: str, *, near: bool = False) -> BoundedYamux:
        """Connect to `peer` at `address`, and have it prove that it is `peer`.

        A name may lead to what is near us only if `near`; an IP address may in any case.

        Raises:
            PeerFault: `TIMED_OUT` or `CONNECTION_LOST`.
        """
        endpoint = parse_endpoint(address)
        seconds = self.limits.dial_timeout
        try:
            with trio.fail_after(seconds):
                stream = await self._lookups.connect(endpoint, near=near)
                with closed_on_failure(stream):
                    raw = RawConnection(ExactTcpStream(stream), initiator=True)
                    swarm_conn = await self._swarm.upgrade_outbound_raw_conn(raw, ID.from_string(peer))
        except trio.TooSlowError as error:
            raise PeerFault(Fault.TIMED_OUT, f"no connection in {seconds} s") from error
        except Exception as error:  # the library raises whatever a stranger's bytes lead to
            raise PeerFault(Fault.CONNECTION_LOST, f"{type(error).__name__}: {error}") from error
        connection: BoundedYamux = swarm_conn.muxed_conn
        return connection

    async def open_stream(self, connection: BoundedYamux, protocol: str) -> BoundedYamuxStream:
        """Open a stream for `protocol` on this very connection.

        Raises:
            PeerFault: `TIMED_OUT` or `CONNECTION_LOST`.
        """
        select = self._basic.multiselect_client.select_one_of
        try:
            with trio.fail_after(NEGOTIATION_SECONDS):
                stream = await connection.open_stream()
                with reset_on_failure(stream):
                    await select([protocol], MultiselectCommunicator(stream))
        except trio.TooSlowError as error:
            raise PeerFault(Fault.TIMED_OUT, f"no {protocol} in {NEGOTIATION_SECONDS} s") from error
        except Exception as error:  # the library raises whatever a stranger's bytes lead to
            raise PeerFault(Fault.CONNECTION_LOST, f"{protocol}: {error}") from error
        return stream

    async def _upgrade(self, stream: trio.SocketStream) -> BoundedYamux | None:
        """Secure and multiplex an accepted socket; None if that failed.

        Who idles here must not keep others out: when `max_pending` are at it, one has to go.
        """
        raw = RawConnection(ExactTcpStream(stream), initiator=False)
        connection: BoundedYamux | None = None
        with trio.CancelScope() as scope:
            self._pending[scope] = _share_of(raw.get_remote_address())
            if len(self._pending) > self.limits.max_pending:
                oldest_of_the_most(self._pending).cancel()
                self.evicted += 1
            try:
                with trio.fail_after(NEGOTIATION_SECONDS):
                    connection = await self._swarm.upgrade_inbound_raw_conn(raw, _SOME_ADDRESS)
            except Exception as error:  # noqa: BLE001 - the library raises whatever a stranger's bytes lead to
                log.debug("event=upgrade_failed remote=%s error=%r", raw.get_remote_address(), error)
            finally:
                self._pending.pop(scope, None)
        return connection

    async def close(self) -> None:
        """Close all connections at once rather than one after the other."""
        async with trio.open_nursery() as nursery:
            for swarm_conn in self._swarm.get_connections():
                nursery.start_soon(swarm_conn.close)


@asynccontextmanager
async def open_host(
    key_pair: KeyPair,
    listen: Sequence[str],
    *,
    advertise: Sequence[str],
    limits: Limits,
) -> AsyncIterator[Host]:
    """A running host for the length of a block.

    Raises:
        OSError: An address to listen on is taken.
        UnknownLibp2pError: The installed py-libp2p is not the hardened one.
    """
    install()
    listeners: list[trio.SocketListener] = []
    try:
        for address in listen:
            endpoint = parse_endpoint(address)
            listeners.append(await open_exclusive_listener(endpoint.host, endpoint.port))
        bound = [_endpoint_of(listener).multiaddr for listener in listeners]
        told = [Multiaddr(address) for address in advertise or bound]
        basic = build_host(key_pair, addresses=lambda: told, max_connections=limits.max_connections)
        host = Host(basic, listeners, limits=limits)
        async with basic.run([]):
            try:
                yield host
            finally:
                with trio.move_on_after(CLOSING_SECONDS) as scope:
                    scope.shield = True
                    await host.close()
    finally:
        for listener in listeners:
            listener.socket.close()


@contextmanager
def closed_on_failure(stream: trio.SocketStream) -> Iterator[None]:
    """Close `stream` if the block fails or is cancelled; the library forgets it while securing a dial."""
    try:
        yield
    except BaseException:
        stream.socket.close()
        raise


@contextmanager
def reset_on_failure(stream: BoundedYamuxStream) -> Iterator[None]:
    """Reset `stream` if the block fails or is cancelled: the session would keep it as long as it lives."""
    try:
        yield
    except BaseException:
        stream.reset_now()
        raise


def oldest_of_the_most(pending: dict[trio.CancelScope, str]) -> trio.CancelScope:
    """The oldest of those whose group has most: a flood from one place pushes out itself and nobody else."""
    counts = Counter(pending.values())
    return max(pending, key=lambda scope: counts[pending[scope]])


def _share_of(remote: tuple[str, int] | None) -> str:
    """Network group of a remote address; what is near us counts for itself."""
    host = remote[0] if remote is not None else ""
    return group_of_host(host) or host


def _endpoint_of(listener: trio.SocketListener) -> Endpoint:
    host, port, *_ = listener.socket.getsockname()
    return Endpoint(host, port)
