"""Runs the protocol: the trio shell that turns frames, clocks and disks into events and performs the effects."""

from collections.abc import Callable
from dataclasses import dataclass

import trio

from consensus.ledger import Ledger
from consensus.safe_store import Journal
from consensus.signer import Signer
from p2p.network import Inbound, Network, PeerEvent


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """Local choices; nothing here is agreed between nodes."""

    max_clock_ahead_ms: int = 10_000
    """A proposal whose timestamp is further ahead of our clock gets no vote."""
    request_timeout: float = 5.0
    """Seconds for one request to one peer."""
    poll_interval: float = 5.0
    """Seconds between two looks at the heights of peers."""


@dataclass(frozen=True, slots=True)
class EngineStatus:
    """What a status page shows."""

    epoch: int
    view: int
    final_height: int
    is_member: bool
    """Whether our key has seats in this epoch."""
    leader: bytes
    """Consensus key of the current view's leader."""


class Engine:
    """One node's part in consensus.

    The node hands over every frame of `Lane.CONSENSUS` with `receive` and every `PeerEvent` with `peer_event`; the
    engine sends on the same lane and registers its request handlers on ``network``.
    """

    def __init__(
        self,
        *,
        network: Network,
        ledger: Ledger,
        journal: Journal,
        signer: Signer | None,
        now_ms: Callable[[], int],
        settings: EngineSettings | None = None,
    ) -> None:
        """Take the node's parts; ``signer`` is None for a node that only follows, ``now_ms`` the wall clock."""
        raise NotImplementedError

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Take part until cancelled.

        Raises:
            consensus.engine.Halted: This machine, or more than a third of the committee, is wrong.
        """
        raise NotImplementedError

    async def receive(self, frame: Inbound) -> None:
        """Queue one frame of the consensus lane; waits while the queue is full."""
        raise NotImplementedError

    async def peer_event(self, event: PeerEvent) -> None:
        """Tell that a peer came or went."""
        raise NotImplementedError

    def status(self) -> EngineStatus:
        """Where we are."""
        raise NotImplementedError
