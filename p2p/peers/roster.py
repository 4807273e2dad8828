"""The peers we are connected to: who is admitted, which of two connections stays, what a fault costs.

Who gets a place when places are short is decided in `slots`. Also tells the peers of each other, so that
nodes which all know one bootstrap node end up knowing everyone.
"""

import logging
from collections import Counter
from collections.abc import Iterator
from typing import Final

import trio

from p2p.addresses.address_book import AddressBook
from p2p.addresses.groups import Group, believable, group_of, group_of_host, is_public
from p2p.addresses.multiaddrs import clean_addresses, seen_from
from p2p.limits import Limits
from p2p.network import Direction, PeerConnected, PeerDisconnected, PeerId
from p2p.peers.comings import Comings
from p2p.peers.connector import Live
from p2p.peers.dialer import Dialer
from p2p.peers.pairing import dials
from p2p.peers.scores import Scoreboard
from p2p.peers.session import Caller, Connection, Link, PeerLeft, Session, Streams
from p2p.peers.slots import NoRoom, Room, Seat, room_for
from p2p.wire.control import MAX_ADDRESSES, MAX_PEERS, Hello, Peers
from p2p.wire.faults import WEIGHTS, Fault, PeerFault
from p2p.wire.inbox import Inbox
from p2p.wire.methods import Methods

log = logging.getLogger(__name__)

SHARING_PAUSE: Final = 0.2
"""Seconds between two rounds of telling peers about each other; newcomers of one round travel together."""


class Roster:
    """Sessions by peer, and the rules by which they come and go."""

    def __init__(
        self,
        *,
        local_id: PeerId,
        chain_tag: bytes,
        reserved: frozenset[PeerId],
        secret: bytes,
        limits: Limits,
        book: AddressBook,
        dialer: Dialer,
        inbox: Inbox,
        methods: Methods,
    ) -> None:
        self.sessions: dict[PeerId, Session] = {}
        self.scores = Scoreboard()
        self.comings = Comings()
        self.partings: Counter[str] = Counter()
        """Refused connections and ended sessions, by reason."""
        self._local_id = local_id
        self._chain_tag = chain_tag
        self._reserved = reserved
        self._secret = secret
        self._members: frozenset[PeerId] = frozenset()
        self._dialed: list[Seat] | None = None
        """Seats of those that we dialed; None after a change."""
        self._limits = limits
        self._book = book
        self._dialer = dialer
        self._inbox = inbox
        self._methods = methods
        self._stopping = False
        self._somebody_came = trio.Event()

    def has(self, connection: Connection) -> bool:
        """Whether `connection` carries a session."""
        return any(session.link.connection is connection for session in self.sessions.values())

    def has_neighbour(self) -> bool:
        """Whether somebody near us is connected: nobody far away can bring that about."""
        hosts = (session.link.caller.host for session in self.sessions.values())
        return any(host and group_of_host(host) is None for host in hosts)

    def keep(self, members: frozenset[PeerId]) -> None:
        """The peers of the committee's keys: like bootstrap peers they need no place."""
        self._members = members
        self._dialed = None
        for peer, session in self.sessions.items():
            session.keep(self.is_kept(peer))

    def is_kept(self, peer: PeerId) -> bool:
        """Whether `peer` needs no place."""
        return peer in self._reserved or peer in self._members

    def may_dial(self, peer: PeerId, address: str) -> bool:
        """Whether a session with `peer` at `address` would be admitted, as far as we know now."""
        if self.scores.is_banned(peer, trio.current_time()):
            return False
        if self._dialed is None:  # asked for every peer of the book in turn, so not counted each time
            self._dialed = [seat for seat in self.seats() if seat.direction is Direction.OUTBOUND]
        seat = self._seat(peer, Direction.OUTBOUND, group_of(address), trio.current_time())
        return isinstance(room_for(seat, self._dialed, self._limits, secret=self._secret), Room)

    def seats(self) -> list[Seat]:
        """What counts about each session."""
        return [
            Seat(
                peer=peer,
                direction=session.link.direction,
                group=group_of_host(session.link.caller.host),
                since=session.link.since,
                answered_at=session.exchange.answered_at,
                is_kept=self.is_kept(peer),
            )
            for peer, session in self.sessions.items()
        ]

    def check(self, caller: Caller, hello: Hello) -> PeerId | None:
        """Whether we want to talk to `caller` at all.

        Returns:
            Who has to go for it, if anybody.

        Raises:
            PeerFault: `SHUTTING_DOWN`, `ITSELF`, `BANNED`, `WRONG_CHAIN` or `FULL`.
        """
        peer = caller.peer
        if self._stopping:
            raise PeerFault(Fault.SHUTTING_DOWN, "the node stops")
        if peer == self._local_id:
            raise PeerFault(Fault.ITSELF, "a node does not connect to itself")
        if self.scores.is_banned(peer, trio.current_time()):
            report = self.scores.last_report(peer)
            raise PeerFault(Fault.BANNED, report.reason if report is not None else "for earlier faults")
        if hello.chain_tag != self._chain_tag:
            theirs, ours = hello.chain_tag.hex(), self._chain_tag.hex()
            raise PeerFault(Fault.WRONG_CHAIN, f"peer is on {theirs}, we are on {ours}")
        if peer in self.sessions:
            return None
        seat = self._seat(peer, caller.direction, group_of_host(caller.host), trio.current_time())
        room = self._room_for(seat)
        if isinstance(room, NoRoom):
            raise PeerFault(Fault.FULL, room.why)
        return room.loser

    def enter(self, link: Link, streams: Streams) -> Live:
        """Admit a session that shook hands.

        Raises:
            PeerFault: As `check`, or `DUPLICATE`.
        """
        loser = self.check(link.caller, link.hello)
        older = self.sessions.get(link.peer)
        if older is not None and not self._is_better(link, older.link):
            raise PeerFault(Fault.DUPLICATE, "another connection between us is kept")
        session = Session(
            link, streams, limits=self._limits, inbox=self._inbox, methods=self._methods,
            is_kept=self.is_kept(link.peer),
        )  # fmt: skip
        self.sessions[link.peer] = session
        self._dialed = None
        if older is not None:
            older.end(Fault.DUPLICATE, "a better connection between us is kept")
        if loser is not None:
            self._evict(loser)
        self._on_entered(session)

        async def live() -> None:
            try:
                ended = await session.run(self._on_peers)
            except Exception:  # one peer's session must not take the node with it, and its end must be booked
                log.exception("event=session_failed peer=%s", link.peer)
                ended = PeerFault(Fault.CONNECTION_LOST, "internal error")
            self._on_ended(session, ended)

        return live

    def report(self, peer: PeerId, reason: str, *, weight: int) -> None:
        """Hold `weight` points against `peer`, and part with it if that is too many."""
        banned = self.scores.report(peer, reason, weight=weight, now=trio.current_time())
        log.info("event=peer_reported peer=%s weight=%d banned=%s reason=%s", peer, weight, banned, reason)
        if banned and peer in self.sessions:
            self.sessions[peer].end(Fault.BANNED, reason)

    def blame(self, peer: PeerId, fault: PeerFault) -> None:
        """Count a parting, and hold it against the peer if it broke a rule."""
        self.partings[fault.fault.sentence] += 1
        if fault.fault in WEIGHTS and not isinstance(fault, PeerLeft):
            self.report(peer, str(fault), weight=WEIGHTS[fault.fault])

    async def stop(self) -> None:
        """Say goodbye to everyone, and admit nobody from now on."""
        self._stopping = True
        sessions = tuple(self.sessions.values())
        for session in sessions:
            session.end(Fault.SHUTTING_DOWN, "the node stops")
        for session in sessions:
            await session.ended.wait()

    async def share_addresses(self) -> None:
        """Tell every peer about every other one, once, for ever."""
        while True:
            await self._somebody_came.wait()
            self._somebody_came = trio.Event()
            for session in self.sessions.values():
                for news in self._news_for(session):
                    session.tell(news)
            await trio.sleep(SHARING_PAUSE)

    def _news_for(self, session: Session) -> Iterator[Peers]:
        others = [peer for peer in self.sessions if peer != session.link.peer and peer not in session.told]
        # What a peer says of itself and what we saw, not what others say of it.
        told = [(peer, _addresses_of(self.sessions[peer].link)[:MAX_ADDRESSES]) for peer in sorted(others)]
        told = [(peer, addresses) for peer, addresses in told if addresses]
        session.told.update(others)
        for start in range(0, len(told), MAX_PEERS):
            yield Peers(tuple(told[start : start + MAX_PEERS]))

    def _on_peers(self, source: PeerId, message: Peers) -> None:
        session = self.sessions.get(source)
        if session is None:
            return
        for peer, addresses in message.peers:
            if peer not in self.sessions and peer != source:
                self._dialer.heard_of(peer, addresses, source=session.link.source)

    def _seat(self, peer: PeerId, direction: Direction, group: Group | None, now: float) -> Seat:
        return Seat(peer, direction, group, now, is_kept=self.is_kept(peer))

    def _room_for(self, seat: Seat) -> Room | NoRoom:
        return room_for(seat, self.seats(), self._limits, secret=self._secret)

    def _evict(self, peer: PeerId) -> None:
        session = self.sessions[peer]
        ended = PeerFault(Fault.FULL, "another peer needs the place more")
        session.end(ended.fault, ended.detail)
        # Now and not when its tasks are through, or its place would be given away a second time.
        self._leave(session, ended)

    def _is_better(self, new: Link, old: Link) -> bool:
        """Whether `new` replaces `old`; both ends come to the same answer.

        A restarted peer's connection replaces what is left of the one before; so does a second one from the
        same side, which would not have dialed without need. If both dialed at once, `pairing` decides.
        """
        if new.hello.instance != old.hello.instance or new.direction is old.direction:
            return True
        return (new.direction is Direction.OUTBOUND) == dials(self._local_id, new.peer)

    def _on_entered(self, session: Session) -> None:
        peer, direction, address = session.link.peer, session.link.direction, session.link.address
        log.info("event=peer_connected peer=%s direction=%s address=%s", peer, direction.value, address)
        addresses = _addresses_of(session.link)
        if direction is Direction.OUTBOUND:
            self._book.reached(peer, addresses, source=session.link.source)
        else:
            self._book.hear(peer, addresses, source=session.link.source, itself=True)
        self._dialer.connected(peer)
        self.comings.put(PeerConnected(peer))
        for other in self.sessions.values():
            other.told.discard(peer)
        self._somebody_came.set()

    def _on_ended(self, session: Session, ended: PeerFault) -> None:
        peer = session.link.peer
        session.link.connection.end(str(ended))
        self.blame(peer, ended)
        if self.sessions.get(peer) is session:
            self._leave(session, ended)

    def _leave(self, session: Session, ended: PeerFault) -> None:
        peer = session.link.peer
        del self.sessions[peer]
        for other in self.sessions.values():
            other.told.discard(peer)
        self._dialed = None
        log.info("event=peer_disconnected peer=%s reason=%s", peer, ended)
        self.comings.put(PeerDisconnected(peer, str(ended)))
        self._dialer.lost(peer, was_ours=session.link.direction is Direction.OUTBOUND)


def _addresses_of(link: Link) -> tuple[str, ...]:
    """Where others can reach the peer: where we reached it ourselves, and what it says and can know."""
    told = seen_from(link.hello.addresses, link.caller.host, names_too=is_public(link.source))
    told = believable(told, source=link.source)
    return clean_addresses((link.address, *told) if link.direction is Direction.OUTBOUND else told)
