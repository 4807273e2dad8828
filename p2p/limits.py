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
        requests_in_flight: Unanswered requests per peer, in each direction.
        handler_timeout: Seconds a request handler may take.
    """

    consensus_frame: int = MAX_CONSENSUS_FRAME
    transactions_frame: int = MAX_TRANSACTIONS_FRAME
    queue_frames: int = 256
    queue_bytes: int = 8 * 1024 * 1024
    inbox_frames: int = 64
    inbox_bytes: int = 2 * 1024 * 1024
    requests_in_flight: int = 16
    handler_timeout: float = 30.0

    def frame(self, lane: Lane) -> int:
        """Largest frame on `lane`, bytes."""
        return self.consensus_frame if lane is Lane.CONSENSUS else self.transactions_frame

    def check_frame(self, lane: Lane, payload: bytes) -> None:
        """Refuse to send what a peer would refuse to take.

        Raises:
            ValueError: `payload` exceeds the lane's limit.
        """
        if len(payload) > self.frame(lane):
            raise ValueError(f"{lane.name} frame has {len(payload)} bytes, the limit is {self.frame(lane)}")
