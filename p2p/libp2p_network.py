"""The `Network` on real sockets: `open_network` is the door.

Who owns what: `Host` the sockets, `Connector` the handshakes, `Session` one connection after its handshake,
`Roster` who is admitted, `Dialer` whom to dial and when, `AddressBook` where peers are, `Scoreboard` what we
hold against them, `Keepsakes` what outlives the process, `Announcer` the public topic. The class here puts
them together.
"""

import logging
import secrets
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Final

import trio

from p2p.addresses.groups import is_public
from p2p.addresses.multiaddrs import parse_peer_address
from p2p.announcer import MESHSUB, Announcer, announcement_topic
from p2p.config import NetworkConfig
from p2p.hardening.yamux import BoundedYamux
from p2p.hardening.yamux_stream import BoundedYamuxStream
from p2p.host import Host, open_host
from p2p.identity import key_pair_of, peer_id_of
from p2p.keepsakes import Keepsakes
from p2p.network import (
    DEFAULT_WEIGHT,
    MAX_ANNOUNCEMENT,
    Handler,
    Inbound,
    Lane,
    NetworkStats,
    PeerEvent,
    PeerId,
    PeerStats,
    RequestFailed,
    RequestFailure,
)
from p2p.peers.connector import Connector
from p2p.peers.dialer import Dialer
from p2p.peers.roster import Roster
from p2p.peers.session import Session
from p2p.wire.control import INSTANCE_SIZE, Hello
from p2p.wire.inbox import Inbox
from p2p.wire.methods import Methods, check_method

log = logging.getLogger(__name__)

STOPPING_SECONDS: Final = 2.0
"""Patience with peers that are slow to take our goodbye."""


class Libp2pNetwork:
    """A node's `Network` over libp2p; made by `open_network`."""

    def __init__(self, config: NetworkConfig, host: Host, *, nursery: trio.Nursery) -> None:
        limits = config.limits
        self._config = config
        self._host = host
        self._nursery = nursery
        self._local_id = peer_id_of(config.identity_seed)
        self._methods = Methods(timeout=limits.handler_timeout)
        self._inbox = Inbox(frames=limits.inbox_frames, size=limits.inbox_bytes)
        self._inbound_out, self._inbound = trio.open_memory_channel[Inbound](0)
        self._events_out, self._events = trio.open_memory_channel[PeerEvent](0)
        self._strangers: dict[BoundedYamux, None] = {}
        bootstrap = [parse_peer_address(address) for address in config.bootstrap]
        self._given = frozenset(bootstrap)
        reserved = frozenset(peer for peer, _ in bootstrap)
        self._keepsakes = Keepsakes(config.address_book, now=config.wall_clock)
        self._book = self._keepsakes.book
        for peer, address in (*self._keepsakes.anchors, *bootstrap):
            self._book.pin(peer, [address])
        self._dialer = Dialer(
            self._book,
            local_id=self._local_id,
            kept=reserved,
            anchors=frozenset(peer for peer, _ in self._keepsakes.anchors),
            rng=config.rng,
            dial=self._dial,
            may_dial=lambda peer, address: self._roster.may_dial(peer, address),
        )
        self._roster = Roster(
            local_id=self._local_id,
            chain_tag=config.chain_tag,
            reserved=reserved,
            secret=secrets.token_bytes(32),
            limits=limits,
            book=self._book,
            dialer=self._dialer,
            inbox=self._inbox,
            methods=self._methods,
        )
        self._keepsakes.attach(self._roster)
        self._announcer = Announcer(
            key_pair_of(config.identity_seed), announcement_topic(config.chain_tag), sequence=time.time_ns()
        )
        host.handle(MESHSUB, self._on_gossip)
        hello = Hello(
            chain_tag=config.chain_tag,
            instance=secrets.token_bytes(INSTANCE_SIZE),
            addresses=self.told_addresses,
        )
        roster = self._roster
        self._connector = Connector(host, hello, check=roster.check, enter=roster.enter, blame=roster.blame)

    @property
    def local_id(self) -> PeerId:
        """See `Network.local_id`."""
        return self._local_id

    @property
    def listen_addrs(self) -> tuple[str, ...]:
        """Multiaddrs with peer id under which this node listens, with the ports that the system chose."""
        return tuple(f"{endpoint.multiaddr}/p2p/{self._local_id}" for endpoint in self._host.endpoints)

    @property
    def told_addresses(self) -> tuple[str, ...]:
        """Multiaddrs without peer id that peers are told; some may mean "any of mine"."""
        return self._config.advertise or tuple(endpoint.multiaddr for endpoint in self._host.endpoints)

    @property
    def inbound(self) -> trio.MemoryReceiveChannel[Inbound]:
        """See `Network.inbound`."""
        return self._inbound

    @property
    def events(self) -> trio.MemoryReceiveChannel[PeerEvent]:
        """See `Network.events`."""
        return self._events

    def peers(self) -> tuple[PeerId, ...]:
        """See `Network.peers`."""
        return tuple(sorted(self._roster.sessions))

    def is_kept(self, peer: PeerId) -> bool:
        """See `Network.is_kept`."""
        return self._roster.is_kept(peer)

    def send(self, peer: PeerId, lane: Lane, payload: bytes) -> bool:
        """See `Network.send`."""
        self._config.limits.check_frame(lane, payload)
        session = self._roster.sessions.get(peer)
        return session is not None and session.send(lane, payload)

    def broadcast(self, lane: Lane, payload: bytes) -> int:
        """See `Network.broadcast`."""
        self._config.limits.check_frame(lane, payload)
        return sum(session.send(lane, payload) for session in self._roster.sessions.values())

    async def request(
        self,
        peer: PeerId,
        method: str,
        payload: bytes,
        *,
        timeout: float,  # noqa: ASYNC109
        limit: int,
    ) -> bytes:
        """See `Network.request`."""
        check_method(method)
        session = self._roster.sessions.get(peer)
        if session is None:
            raise RequestFailed(RequestFailure.NOT_CONNECTED, f"{peer} is not connected")
        with trio.move_on_after(timeout):
            return await session.exchange.ask(method, payload, limit=limit)
        raise RequestFailed(RequestFailure.TIMED_OUT, f"{peer} did not answer {method!r} in {timeout} s")

    def set_handler(self, method: str, handler: Handler, *, limit: int) -> None:
        """See `Network.set_handler`."""
        self._methods.add(method, handler, limit)

    def keep(self, members: Mapping[PeerId, tuple[str, ...]]) -> None:
        """Stay connected to `members`, at the multiaddrs given, in place of those of the call before.

        They need no place, count against no group, and are dialed before all others for as long as it takes.
        Of more than `Limits.max_kept` the first ones are taken.
        """
        few = dict(list(members.items())[: self._config.limits.max_kept])
        self._roster.keep(frozenset(few))
        self._dialer.keep(few)

    def announce(self, payload: bytes) -> None:
        """See `Network.announce`; the topic is `announcement_topic(chain_tag)`."""
        if len(payload) > MAX_ANNOUNCEMENT:
            raise ValueError(f"announcement has {len(payload)} bytes, the limit is {MAX_ANNOUNCEMENT}")
        self._announcer.announce(payload)

    def report(self, peer: PeerId, reason: str, *, weight: int = DEFAULT_WEIGHT) -> None:
        """See `Network.report`."""
        self._roster.report(peer, reason, weight=weight)

    def charge(self, peer: PeerId, lane: Lane, cost: int) -> None:
        """See `Network.charge`."""
        session = self._roster.sessions.get(peer)
        if session is not None:
            session.charge(lane, cost)

    def stats(self) -> NetworkStats:
        """See `Network.stats`."""
        now = trio.current_time()
        partings = dict(self._roster.partings)
        if self._host.evicted:
            partings["evicted while being set up"] = self._host.evicted
        return NetworkStats(
            now=now,
            peers=tuple(self._peer_stats(self._roster.sessions[peer], now) for peer in self.peers()),
            bans=self._roster.scores.bans(now),
            known=len(self._book),
            listeners=self._announcer.listeners,
            announcements=self._announcer.sent,
            rejected=tuple(sorted(partings.items())),
        )

    async def run(self) -> None:
        """Keep the network going; `open_network` starts and ends this."""
        with self._inbound_out, self._events_out:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._inbox.pump, self._inbound_out)
                nursery.start_soon(self._roster.comings.pump, self._events_out)
                nursery.start_soon(self._host.accept, self._watch)
                nursery.start_soon(self._roster.share_addresses)
                nursery.start_soon(self._keepsakes.run)
                nursery.start_soon(self._dialer.run)

    async def stop(self) -> None:
        """Say goodbye to all peers, and remember where they are."""
        await self._roster.stop()
        self._keepsakes.save()

    async def _dial(self, peer: PeerId, address: str) -> None:
        near = (peer, address) in self._given or self._is_local()
        self._nursery.start_soon(await self._connector.dial(peer, address, near=near))

    def _is_local(self) -> bool:
        """Whether we live in a private network, where others' names may lead near us."""
        return self._roster.has_neighbour() and not any(map(is_public, self.told_addresses))

    async def _watch(self, connection: BoundedYamux) -> None:
        """Keep an inbound connection only while it is of use to somebody.

        Whoever connects and does nothing must not keep others out: past `max_strangers` the oldest has to go.
        """
        limits = self._config.limits
        self._strangers[connection] = None
        for stranger in tuple(self._strangers)[: -limits.max_strangers]:
            if self._roster.has(stranger) or self._announcer.listens(stranger):
                del self._strangers[stranger]
            else:
                stranger.end("others are waiting")
        while not connection.is_closed:
            with trio.move_on_after(limits.idle_timeout):
                await connection.event_closed.wait()
            if self._roster.has(connection):
                continue
            if not self._announcer.listens(connection):
                connection.end("neither shook hands nor listens")
            elif self._announcer.listeners > limits.max_listeners:
                connection.end("too many listeners")
        self._strangers.pop(connection, None)

    async def _on_gossip(self, connection: BoundedYamux, stream: BoundedYamuxStream) -> None:
        async def open_stream() -> BoundedYamuxStream:
            return await self._host.open_stream(connection, MESHSUB)

        await self._announcer.serve(connection, stream, open_stream)

    def _peer_stats(self, session: Session, now: float) -> PeerStats:
        link, scores = session.link, self._roster.scores
        return PeerStats(
            peer=link.peer,
            direction=link.direction,
            address=link.address,
            connected_at=link.since,
            bytes_in=link.connection.bytes_in,
            bytes_out=link.connection.bytes_out,
            frames_in=session.frames_in,
            frames_out=session.frames_out,
            dropped=tuple(session.dropped[lane] for lane in Lane),
            score=scores.score(link.peer, now),
            last_report=scores.last_report(link.peer),
        )


@asynccontextmanager
async def open_network(config: NetworkConfig) -> AsyncIterator[Libp2pNetwork]:
    """A node's network for the length of a block.

    Raises:
        OSError: An address to listen on is taken.
        UnknownLibp2pError: The installed py-libp2p is not the hardened one.
    """
    key_pair = key_pair_of(config.identity_seed)
    with _bare_errors():
        async with (
            open_host(key_pair, config.listen, advertise=config.advertise, limits=config.limits) as host,
            trio.open_nursery() as nursery,
        ):
            network = Libp2pNetwork(config, host, nursery=nursery)
            addresses = ",".join(network.listen_addrs)
            log.info("event=network_open peer=%s listen=%s", network.local_id, addresses)
            nursery.start_soon(network.run)
            try:
                yield network
            finally:
                with trio.move_on_after(STOPPING_SECONDS) as scope:
                    scope.shield = True
                    await network.stop()
                nursery.cancel_scope.cancel()


@contextmanager
def _bare_errors() -> Iterator[None]:
    """Take a single error out of the groups that the nurseries on its way have put around it."""
    try:
        yield
    except BaseExceptionGroup as group:
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
            error = error.exceptions[0]
        context = error.__context__
        try:
            raise error
        finally:
            error.__context__ = context
