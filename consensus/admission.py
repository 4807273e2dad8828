"""Messages of other epochs, sorted out by their heads, before a body is decoded or a signature looked at.

The committee of the next epoch is known only when this one ends, so messages that come early cannot be
checked yet. They are held, and handed out when their epoch begins. Memory bound: `HELD_PER_PEER` messages a
peer, of them `HELD_PROPOSALS` proposals and `HELD_CERTIFICATES` certificates over all peers, and only of the
very next epoch. Nobody has checked their signatures, so anyone may have sent them.
"""

from enum import Enum
from typing import Final

from chain.types.statement import Kind
from consensus.messages import Certificate, ConsensusMessage, Head, Hearsay, Proposal, Vote
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
    """It is of the next epoch, and there is room to `Admission.hold` it."""
    AHEAD = "ahead"
    """It is of a later epoch, or of the next, for which there is no room: we have fallen behind."""
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

    def sort(self, origin: PeerId, head: Head, *, now_ms: int) -> Place:
        """Judge a message by its head; ``now_ms`` is a clock of which only differences matter."""
        if head.epoch == self._epoch:
            return Place.NOW
        if head.message is Hearsay:
            # Nothing waits for it, and the protocol goes on without.
            return Place.OLD
        if head.epoch > self._epoch:
            is_next = head.epoch == self._epoch + 1
            return Place.HELD if is_next and self._has_room(origin, head) else Place.AHEAD
        is_voting = head.message is Proposal or (head.message is Vote and head.kind is not Kind.FINALIZE)
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

    def hold(self, origin: PeerId, message: ConsensusMessage) -> None:
        """Keep a message for which there is room."""
        self._proposals += isinstance(message, Proposal)
        self._certificates += isinstance(message, Certificate)
        self._held.setdefault(origin, []).append(message)

    def _has_room(self, origin: PeerId, head: Head) -> bool:
        if head.message is Proposal and self._proposals >= HELD_PROPOSALS:
            return False
        if head.message is Certificate and self._certificates >= HELD_CERTIFICATES:
            return False
        if origin not in self._held:
            return len(self._held) < HELD_PEERS
        return len(self._held[origin]) < HELD_PER_PEER
