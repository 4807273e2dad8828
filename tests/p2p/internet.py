"""An Internet in memory: one real node's roster, dialer and book against any number of scripted peers.

What a `Connector` does over libp2p (connect, shake hands, open four streams, admit) happens here at once, and
the far ends only keep talking. Time is trio's; with the autojump clock hours take moments.
"""

import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import trio

from p2p.keepsakes import SAVING_PAUSE, Keepsakes
from p2p.limits import Limits
from p2p.network import Direction, Lane, PeerId
from p2p.peers.dialer import Dialer
from p2p.peers.roster import Roster
from p2p.peers.session import Caller, Link, Streams
from p2p.wire.control import Hello, Peers
from p2p.wire.faults import Fault, PeerFault
from p2p.wire.frames import FrameReader
from p2p.wire.inbox import Inbox
from p2p.wire.methods import Methods
from tests.p2p.nodes import TAG
from tests.p2p.pipes import Pipe, pipe

EPOCH = 1_700_000_000.0


class Wire:
    """A connection on which something always comes in."""

    def __init__(self) -> None:
        self.bytes_out = 0
        self._in = 0
        self.closed = trio.Event()
        self.ends: list[Pipe] = []

    @property
    def bytes_in(self) -> int:
        self._in += 1
        return self._in

    @bytes_in.setter
    def bytes_in(self, value: int) -> None:
        self._in = value

    def end(self, _reason: str) -> None:
        self.closed.set()
        for far in self.ends:
            far.end()


@dataclass(eq=False)
class Remote:
    """A scripted peer."""

    peer: PeerId
    host: str
    is_honest: bool
    tells: list[tuple[PeerId, tuple[str, ...]]] = field(default_factory=list)
    """What it says of others to whoever connects."""
    is_up: bool = True
    says: tuple[str, ...] | None = None
    """Where it says that it listens, if not at its address."""

    @property
    def address(self) -> str:
        return f"/ip4/{self.host}/tcp/4001"


class Internet:
    """Who listens where."""

    def __init__(self) -> None:
        self.remotes: dict[PeerId, Remote] = {}
        self.at: dict[str, Remote] = {}

    def add(self, name: str, host: str, *, honest: bool) -> Remote:
        remote = Remote(PeerId(name), host, honest)
        self.remotes[remote.peer] = self.at[remote.address] = remote
        return remote


class Victim:
    """A node as `Libp2pNetwork` puts it together, on the Internet above."""

    def __init__(
        self, internet: Internet, nursery: trio.Nursery, *, bootstrap: tuple[Remote, ...],
        limits: Limits, memory: Path | None, seed: int,
    ) -> None:  # fmt: skip
        self.internet = internet
        self.me = PeerId("victim")
        self.limits = limits
        self.dialed: list[PeerId] = []
        self._nursery = nursery
        start = trio.current_time()
        reserved = frozenset(remote.peer for remote in bootstrap)
        self.keepsakes = Keepsakes(memory, now=lambda: EPOCH + trio.current_time() - start)
        self.book = self.keepsakes.book
        for peer, where in (*self.keepsakes.anchors, *((b.peer, b.address) for b in bootstrap)):
            self.book.pin(peer, [where])
        self.dialer = Dialer(
            self.book,
            local_id=self.me,
            kept=reserved,
            anchors=frozenset(peer for peer, _ in self.keepsakes.anchors),
            rng=random.Random(seed),
            dial=self._dial,
            may_dial=lambda peer, address: self.roster.may_dial(peer, address),
        )
        self.roster = Roster(
            local_id=self.me,
            chain_tag=TAG,
            reserved=reserved,
            secret=bytes([seed]) * 32,
            limits=limits,
            book=self.book,
            dialer=self.dialer,
            inbox=Inbox(frames=4, size=1000),
            methods=Methods(timeout=1),
        )
        self.keepsakes.attach(self.roster)

    def keep(self, *remotes: Remote) -> None:
        """As `Libp2pNetwork.keep`."""
        self.roster.keep(frozenset(remote.peer for remote in remotes))
        self.dialer.keep({remote.peer: (remote.address,) for remote in remotes})

    async def _dial(self, peer: PeerId, address: str) -> None:
        self.dialed.append(peer)
        await trio.sleep(0.01)
        remote = self.internet.at.get(address)
        if remote is None or remote.peer != peer or not remote.is_up:
            await trio.sleep(self.limits.dial_timeout)
            raise PeerFault(Fault.TIMED_OUT, f"nobody at {address}")
        self._connect(remote, Direction.OUTBOUND)

    def arrive(self, remote: Remote) -> bool:
        """`remote` dials the victim; whether it gets in."""
        try:
            self.arrive_or_raise(remote)
        except PeerFault:
            return False
        return True

    def arrive_or_raise(self, remote: Remote) -> None:
        """`remote` dials the victim.

        Raises:
            PeerFault: The victim does not want it.
        """
        self._connect(remote, Direction.INBOUND)

    def _connect(self, remote: Remote, direction: Direction) -> None:
        wire = Wire()
        near, far = zip(*(pipe(room=100_000) for _ in range(4)), strict=True)
        wire.ends = list(far)
        caller = Caller(remote.peer, direction, remote.host)
        says = (remote.address,) if remote.says is None else remote.says
        hello = Hello(TAG, b"instance", says)
        address = remote.address if direction is Direction.OUTBOUND else f"/ip4/{remote.host}/tcp/55555"
        link = Link(caller, address, wire, hello, trio.current_time())
        lanes = {Lane.CONSENSUS: near[1], Lane.TRANSACTIONS: near[2]}
        live = self.roster.enter(link, Streams(near[0], FrameReader(near[0]), lanes, near[3]))
        self._nursery.start_soon(live)
        for start in range(0, len(remote.tells), 16):
            self.roster._on_peers(remote.peer, Peers(tuple(remote.tells[start : start + 16])))

    async def remember(self) -> None:
        """As `Keepsakes.run`, but without threads, for which no autojump clock waits."""
        while True:
            await trio.sleep(SAVING_PAUSE)
            self.keepsakes.save()

    def sessions(self, direction: Direction | None = None) -> Iterator[Remote]:
        for peer, session in self.roster.sessions.items():
            if direction in (None, session.link.direction):
                yield self.internet.remotes[peer]

    def honest(self, direction: Direction | None = None) -> set[PeerId]:
        return {remote.peer for remote in self.sessions(direction) if remote.is_honest}


@asynccontextmanager
async def victim(
    internet: Internet,
    *bootstrap: Remote,
    limits: Limits | None = None,
    memory: Path | None = None,
    seed: int = 1,
) -> AsyncIterator[Victim]:
    """A node that runs; on leaving it is killed, with nothing written but what was by then."""
    async with trio.open_nursery() as nursery:
        here = Victim(
            internet, nursery, bootstrap=bootstrap, limits=limits or Limits(), memory=memory, seed=seed
        )
        nursery.start_soon(here.dialer.run)
        nursery.start_soon(here.remember)
        yield here
        nursery.cancel_scope.cancel()
