"""Messages of other epochs, sorted out before any signature is looked at.

The committee of the next epoch is known only when this one ends, so messages that come early cannot be
checked yet. They are held, and handed out when their epoch begins. Memory bound: `HELD_PER_PEER` messages a
peer, of them `HELD_PROPOSALS` proposals and `HELD_CERTIFICATES` certificates over all peers, and only of the
very next epoch. Nobody has checked their signatures, so anyone may have sent them.
"""

from enum import Enum
from typing import Final

from chain.types.statement import Kind
from consensus.messages import Certificate, ConsensusMessage, Hearsay, Proposal, Vote
from p2p.network import PeerId

HELD_PER_PEER: Final = 64
HELD_PEERS: Final = 256
HELD_PROPOSALS: Final = 8
HELD_CERTIFICATES: Final = 64
"""A certificate can take 180 KB; one that finds no room is sent again, or fetched."""


class Place(Enum):
    """What to do with a message."""

    NOW = "now"
    """It is of the epoch that we are in."""
    HELD = "held"
    """It is of the next epoch and will come back, unless there was no room."""
    AHEAD = "ahead"
    """It is of a later epoch: we have fallen behind."""
    STUCK = "stuck"
    """Its sender sits in an epoch that is over and should be shown the end of it."""
    OLD = "old"
    """Of no use to anyone."""


class Admission:
    """Sorts messages by epoch."""

    def __init__(self, epoch: int, *, answer_every_ms: int) -> None:
        """Start in ``epoch``; a peer that is stuck is answered once in ``answer_every_ms``."""
        self._epoch = epoch
        self._answer_every_ms = answer_every_ms
        self._answered: dict[PeerId, int] = {}
        self._held: dict[PeerId, list[ConsensusMessage]] = {}
        self._proposals = self._certificates = 0

    def sort(self, origin: PeerId, message: ConsensusMessage, *, now_ms: int) -> Place:
        """Judge a message by its epoch alone; ``now_ms`` is a clock of which only differences matter."""
        if message.epoch == self._epoch:
            return Place.NOW
        if isinstance(message, Hearsay):
            # Nothing waits for it, and the protocol goes on without.
            return Place.OLD
        if message.epoch == self._epoch + 1:
            self._hold(origin, message)
            return Place.HELD
        if message.epoch > self._epoch:
            return Place.AHEAD
        is_voting = isinstance(message, Proposal) or (
            isinstance(message, Vote) and message.kind is not Kind.FINALIZE
        )
        # The end of an epoch is voted on for a moment after it came; only an epoch that goes on is a sign
        # of trouble.
        if not is_voting or now_ms < self._answered.get(origin, now_ms):
            return Place.OLD
        if len(self._answered) >= HELD_PEERS:
            self._answered.clear()
        self._answered[origin] = now_ms + self._answer_every_ms
        return Place.STUCK

    def enter(self, epoch: int) -> list[tuple[PeerId, ConsensusMessage]]:
        """Move to ``epoch`` and return what was held for it, in order of arrival per peer."""
        held = [(origin, m) for origin, messages in self._held.items() for m in messages if m.epoch == epoch]
        self._epoch = epoch
        self._held, self._proposals, self._certificates = {}, 0, 0
        self._answered.clear()
        return held

    def _hold(self, origin: PeerId, message: ConsensusMessage) -> None:
        if len(self._held) >= HELD_PEERS and origin not in self._held:
            return
        held = self._held.setdefault(origin, [])
        if len(held) >= HELD_PER_PEER:
            return
        if isinstance(message, Proposal):
            if self._proposals >= HELD_PROPOSALS:
                return
            self._proposals += 1
        if isinstance(message, Certificate):
            if self._certificates >= HELD_CERTIFICATES:
                return
            self._certificates += 1
        held.append(message)
