"""Bytes between peers: the seam that everything above codes against.

Two implementations keep the same promises: `libp2p_network.open_network` (real sockets) and
`memory.MemoryNetwork` (a deterministic hub for tests and the simulator).

The promises, in short:

- A peer is listed by `peers()` once it is connected *and* has shown the same chain tag and protocol version.
- Frames of one peer on one lane arrive in the order they were sent, each whole and at most once. A broken
  connection may lose what was in flight; nothing is sent again by itself.
- Lanes never wait for one another, neither on the wire nor in `inbound`: consensus overtakes transactions.
- Nothing here is unbounded. A sender learns at once that its frame was dropped; a receiver that falls behind
  slows the peer that sends too much, and only that peer.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import NewType, Protocol

import trio

PeerId = NewType("PeerId", str)
"""Base58 libp2p peer id: the multihash of the peer's ed25519 identity key (`12D3Koo...`)."""

MAX_CONSENSUS_FRAME = 4 * 1024 * 1024
"""Default limit of one frame on `Lane.CONSENSUS`, bytes: room for a block of the largest allowed size."""

MAX_TRANSACTIONS_FRAME = 1024 * 1024
"""Default limit of one frame on `Lane.TRANSACTIONS`, bytes: one batch."""

MAX_RESPONSE = 8 * 1024 * 1024
"""Ceiling for the `limit` of a request, bytes; larger things are asked for in ranges."""

MAX_ANNOUNCEMENT = 128 * 1024
"""Limit of one announcement, bytes: headers and certificates, never bodies."""

DEFAULT_WEIGHT = 20
"""Score lost by a report that names no weight; five of them within the recovery time reach `BAN_SCORE`."""

BAN_SCORE = -100
"""A peer whose score falls to this value is disconnected and banned."""


class Lane(IntEnum):
    """A kind of traffic with a long-lived stream and queues of its own; the lower value goes first."""

    CONSENSUS = 0
    TRANSACTIONS = 1


class Direction(Enum):
    """Who dialed."""

    INBOUND = "inbound"
    OUTBOUND = "outbound"


@dataclass(frozen=True, slots=True)
class Inbound:
    """One frame from one peer. `payload` is within the lane's limit and otherwise unchecked."""

    peer: PeerId
    lane: Lane
    payload: bytes


@dataclass(frozen=True, slots=True)
class PeerConnected:
    """`peer` finished the handshake and is now in `peers()`."""

    peer: PeerId


@dataclass(frozen=True, slots=True)
class PeerDisconnected:
    """`peer` left `peers()`; `reason` says why in one sentence."""

    peer: PeerId
    reason: str


PeerEvent = PeerConnected | PeerDisconnected


class RequestFailure(Enum):
    """Why a request brought no answer."""

    NOT_CONNECTED = "not connected"
    """The peer is not in `peers()`, or its connection broke while we waited."""
    TIMED_OUT = "timed out"
    TOO_LARGE = "too large"
    """The answer exceeds the caller's limit, or the request exceeds the handler's."""
    UNKNOWN_METHOD = "unknown method"
    """The peer has no handler of that name."""
    REFUSED = "refused"
    """The peer's handler raised `RequestRefused`, or the peer is too busy; the message says which."""
    PEER_FAILED = "peer failed"
    """The peer's handler broke; that is the peer's fault, not ours."""


class RequestFailed(Exception):  # noqa: N818 - reads as a sentence where it is caught
    """A request brought no answer.

    Attributes:
        reason: Which of the few ways a request can fail.
        detail: One sentence with the values.
    """

    def __init__(self, reason: RequestFailure, detail: str) -> None:
        super().__init__(f"{reason.value}: {detail}")
        self.reason = reason
        self.detail = detail


class RequestRefused(Exception):  # noqa: N818 - reads as a sentence where it is raised
    """Raised by a handler to answer "no" with a sentence that the asking peer gets to read."""


Handler = Callable[[PeerId, bytes], Awaitable[bytes]]
"""Answers one request of one peer.

May raise `RequestRefused`. Any other exception is a fault of ours: it is logged with its traceback, and the
peer reads `RequestFailure.PEER_FAILED`."""


@dataclass(frozen=True, slots=True)
class Report:
    """One complaint about a peer, kept for the status page.

    Attributes:
        reason: A short sentence, the same one that is logged.
        weight: Score that it cost.
        at: Seconds on the network's clock (`NetworkStats.now` is on the same one).
    """

    reason: str
    weight: int
    at: float


@dataclass(frozen=True, slots=True)
class PeerStats:
    """What a status page shows of one connected peer.

    Attributes:
        peer: Its id.
        direction: Who dialed.
        address: Its multiaddr as seen from here, or an empty string.
        connected_at: Seconds on the network's clock.
        bytes_in: Payload and framing bytes received on this connection.
        bytes_out: Payload and framing bytes sent on this connection.
        frames_in: Frames received on the two lanes.
        frames_out: Frames handed to the connection on the two lanes.
        dropped: Frames that `send` refused because this peer's queue was full, by lane.
        score: 0 is clean, `BAN_SCORE` is banned.
        last_report: The latest complaint about this peer, if any.
    """

    peer: PeerId
    direction: Direction
    address: str
    connected_at: float
    bytes_in: int
    bytes_out: int
    frames_in: int
    frames_out: int
    dropped: tuple[int, ...]
    score: int
    last_report: Report | None


@dataclass(frozen=True, slots=True)
class Ban:
    """A peer that may not connect.

    Attributes:
        peer: Its id.
        until: Seconds on the network's clock.
        reports: The complaints that led here, oldest first, bounded.
    """

    peer: PeerId
    until: float
    reports: tuple[Report, ...]


@dataclass(frozen=True, slots=True)
class NetworkStats:
    """A snapshot for status pages.

    Attributes:
        now: The network's clock, seconds; only differences mean anything.
        peers: Connected and handshaken peers, sorted by id.
        bans: Bans in force, sorted by peer id.
        known: Number of peers whose addresses are known.
        listeners: Connections without a Headrace handshake (pure libp2p clients).
        announcements: Announcements sent, summed over listeners.
        rejected: Connections refused, by reason, sorted by reason.
    """

    now: float
    peers: tuple[PeerStats, ...]
    bans: tuple[Ban, ...]
    known: int
    listeners: int
    announcements: int
    rejected: tuple[tuple[str, int], ...]


class Network(Protocol):
    """A node's view of its peers."""

    @property
    def local_id(self) -> PeerId:
        """This node's own id."""
        ...

    @property
    def inbound(self) -> trio.MemoryReceiveChannel[Inbound]:
        """Frames from all peers: waiting consensus frames first, and peers in turn within a lane.

        Bounded per peer: a peer whose frames are not taken from here is not read from any more.
        """
        ...

    @property
    def events(self) -> trio.MemoryReceiveChannel[PeerEvent]:
        """Comings and goings. Coalesced when nobody reads: only the latest event of each peer is kept.

        A reader that needs the truth asks `peers()`; an event is a reason to look.
        """
        ...

    def peers(self) -> tuple[PeerId, ...]:
        """Connected and handshaken peers, sorted, without ourselves."""
        ...

    def is_kept(self, peer: PeerId) -> bool:
        """Whether `peer` needs no place here: it is the committee's, or a bootstrap peer."""
        ...

    def send(self, peer: PeerId, lane: Lane, payload: bytes) -> bool:
        """Queue one frame for one peer and return at once.

        Returns:
            False if it was not queued: the peer is not connected or its queue is full. The latter is counted.

        Raises:
            ValueError: `payload` exceeds the lane's limit (a mistake of the caller, not of the peer).
        """
        ...

    def broadcast(self, lane: Lane, payload: bytes) -> int:
        """`send` to every peer of `peers()`.

        Returns:
            How many took it.

        Raises:
            ValueError: `payload` exceeds the lane's limit.
        """
        ...

    async def request(
        self,
        peer: PeerId,
        method: str,
        payload: bytes,
        *,
        timeout: float,  # noqa: ASYNC109
        limit: int,
    ) -> bytes:
        """Ask one peer and wait for the whole answer.

        Args:
            peer: Whom to ask.
            method: Name of the handler, at most 64 ASCII characters.
            payload: The question, at most the handler's own limit.
            timeout: Seconds for everything together.
            limit: Largest acceptable answer, bytes, at most `MAX_RESPONSE`. Checked before it is read.

        Raises:
            RequestFailed: With one of the reasons of `RequestFailure`.
        """
        ...

    def set_handler(self, method: str, handler: Handler, *, limit: int) -> None:
        """Answer requests called `method`, whose payload is at most `limit` bytes, with `handler`.

        Raises:
            ValueError: The name is taken, empty, too long or not ASCII.
        """
        ...

    def announce(self, payload: bytes) -> None:
        """Publish to whoever listens to the announcement topic, libp2p clients of any kind included.

        Low rate only (final blocks). Never waits; a listener that does not keep up loses the oldest.

        Raises:
            ValueError: `payload` exceeds `MAX_ANNOUNCEMENT`.
        """
        ...

    def report(self, peer: PeerId, reason: str, *, weight: int = DEFAULT_WEIGHT) -> None:
        """Complain about a peer: it loses `weight` points and is banned at `BAN_SCORE`.

        Points come back with time. Reasons are kept and shown in `stats()`.
        """
        ...

    def charge(self, peer: PeerId, lane: Lane, cost: int) -> None:
        """Count `cost` bytes more against what `peer` may send on `lane`: it is read more slowly for a while.

        For what the honest send too, though rarely much of it: nobody loses points or a connection.
        """
        ...

    def stats(self) -> NetworkStats:
        """A snapshot for status pages."""
        ...
