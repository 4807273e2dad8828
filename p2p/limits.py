"""Local bounds of a node's network: what it takes from peers, and how much it keeps for them."""

from dataclasses import dataclass

from p2p.network import MAX_CONSENSUS_FRAME, MAX_TRANSACTIONS_FRAME, Lane


@dataclass(frozen=True, slots=True)
class Limits:
    """Everything that bounds memory, rates and patience; local to a node, never agreed between nodes.

    Attributes:
        consensus_frame: Largest frame on `Lane.CONSENSUS`, bytes.
        transactions_frame: Largest frame on `Lane.TRANSACTIONS`, bytes.
        queue_frames: Outgoing frames kept per peer and lane.
        queue_bytes: Outgoing bytes kept per peer and lane, unless a single frame is larger.
        inbox_frames: Frames received and not taken yet, per peer and lane.
        inbox_bytes: The same in bytes, unless a single frame is larger.
        consensus_rate: Bytes a second read from one kept peer on `Lane.CONSENSUS` once its burst is used up.
        strangers_rate: The same of any other peer, which holds no seat: it has certificates to pass on, some
            hundred thousand bytes a second in the largest committee.
        strangers_burst: Bytes that it may send at once: two of the largest blocks, for we learn only seconds
            after it came that it is the committee's.
        transactions_rate: The same on `Lane.TRANSACTIONS`.
        burst_seconds: How many seconds' worth a peer may send at once.
        requests_in_flight: Unanswered requests per peer, in each direction.
        requests_per_second: Requests read per peer and second once its burst is used up.
        requests_burst: Requests that a peer may send at once.
        handler_timeout: Seconds a request handler may take.
        dial_timeout: Seconds to reach a peer and open a connection.
        handshake_timeout: Seconds for a new connection to become a session.
        ping_interval: A peer not heard from for this many seconds is pinged.
        ping_misses: So many intervals without a byte end the connection.
        idle_timeout: Seconds after which a connection without session or subscription is closed.
        max_outbound: Sessions at a time with peers that we chose and dialed; kept peers are beyond it.
        outbound_per_group: So many of these in one group of public addresses (`groups`).
        max_inbound: Sessions at a time with peers that dialed us; kept peers are beyond it.
        inbound_per_group: So many of these in one group of public addresses.
        max_kept: Kept peers at most: bootstrap peers, and the peers of the committee's keys.
        max_listeners: Connections without a session at a time (pure libp2p clients).
        max_strangers: Inbound connections that are neither session nor listener yet; the oldest makes room.
        max_pending: Inbound connections being set up at a time; the oldest of the largest group makes room.
    """

    consensus_frame: int = MAX_CONSENSUS_FRAME
    transactions_frame: int = MAX_TRANSACTIONS_FRAME
    queue_frames: int = 256
    queue_bytes: int = 8 * 1024 * 1024
    inbox_frames: int = 64
    inbox_bytes: int = 2 * 1024 * 1024
    consensus_rate: int = 16 * 1024 * 1024
    strangers_rate: int = 1024 * 1024
    strangers_burst: int = 8 * 1024 * 1024
    transactions_rate: int = 4 * 1024 * 1024
    burst_seconds: float = 2.0
    requests_in_flight: int = 8
    requests_per_second: int = 200
    requests_burst: int = 400
    handler_timeout: float = 30.0
    dial_timeout: float = 5.0
    handshake_timeout: float = 5.0
    ping_interval: float = 1.5
    ping_misses: int = 3
    idle_timeout: float = 15.0
    max_outbound: int = 100
    outbound_per_group: int = 2
    max_inbound: int = 100
    inbound_per_group: int = 16
    max_kept: int = 128
    max_listeners: int = 32
    max_strangers: int = 64
    max_pending: int = 128

    @property
    def max_connections(self) -> int:
        """Connections of all kinds together, with room for doubles that are about to be resolved."""
        peers = self.max_outbound + self.max_inbound + self.max_kept
        return 2 * peers + self.max_listeners + self.max_strangers

    def frame(self, lane: Lane) -> int:
        """Largest frame on `lane`, bytes."""
        return self.consensus_frame if lane is Lane.CONSENSUS else self.transactions_frame

    def pace(self, lane: Lane, *, is_kept: bool) -> dict[str, float]:
        """Rate in bytes a second, and burst in bytes, at which a peer may send on `lane`."""
        if lane is Lane.CONSENSUS and not is_kept:
            return {"rate": self.strangers_rate, "burst": self.strangers_burst}
        rate = self.consensus_rate if lane is Lane.CONSENSUS else self.transactions_rate
        return {"rate": rate, "burst": rate * self.burst_seconds}

    def check_frame(self, lane: Lane, payload: bytes) -> None:
        """Refuse to send what a peer would refuse to take.

        Raises:
            ValueError: `payload` exceeds the lane's limit.
        """
        if len(payload) > self.frame(lane):
            raise ValueError(f"{lane.name} frame has {len(payload)} bytes, the limit is {self.frame(lane)}")
