"""What the engine's one task takes from its queue, and what a node tells the engine at the start."""

from dataclasses import dataclass

import trio

from chain.types.block import Block
from consensus.messages import Certificate
from consensus.signing.disk import Durably, at_once
from consensus.simplex import effects, events
from consensus.watch import WATCHED_HEIGHTS
from p2p.network import Inbound, PeerEvent, PeerId


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """Local choices; nothing here is agreed between nodes."""

    max_clock_ahead_ms: int = 10_000
    """A proposal whose timestamp is further ahead of our clock gets no vote."""
    request_timeout: float = 5.0
    """Seconds for one request to one peer."""
    watch_heights: int = WATCHED_HEIGHTS
    """Heights to watch for a second holder of our key before it signs; see `consensus.watch`. 0: none."""
    poll_interval: float = 5.0
    """Seconds between two looks at the heights of peers."""
    durably: Durably = at_once
    """How what waits for the disk is done; a node that must answer meanwhile has a thread for it."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a fetch brought: the bodies are what was asked for, the certificates have not been checked."""

    origin: PeerId
    wanted: effects.Fetch
    blocks: tuple[Block, ...]
    certificates: tuple[Certificate, ...]


@dataclass(frozen=True, slots=True)
class Synced:
    """Blocks proven final by sync, and the finalization of the last."""

    blocks: tuple[Block, ...]
    certificate: Certificate
    applied: trio.Event
    """Set when they are final here."""


@dataclass(frozen=True, slots=True)
class WatchOver:
    """Nobody else was heard to sign with our key."""


Input = WatchOver | Inbound | PeerEvent | events.TimerFired | effects.Build | Found | Synced
