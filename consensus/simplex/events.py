"""What can happen to the protocol. Every signature and every certificate in an event has been verified."""

from dataclasses import dataclass
from enum import Enum

from chain.types.block import Block, Header
from chain.types.statement import Statement
from consensus.messages import Certificate, Proposal, Vote
from p2p.network import PeerId


class Timer(Enum):
    """A wait that `consensus.simplex.effects.SetTimer` started."""

    PROPOSAL = "proposal"
    """The leader's block should have been here."""
    CERTIFICATE = "certificate"
    """The view should have ended."""
    RESEND = "resend"
    """Messages may have been lost: say it all again."""


@dataclass(frozen=True, slots=True)
class Resumed:
    """The start of an epoch's instance, with whatever of it survived the last run."""

    certificates: tuple[Certificate, ...] = ()
    blocks: tuple[tuple[bytes, Block], ...] = ()
    """Bodies under their digests."""
    votes: tuple[Vote, ...] = ()
    """Our own, from the signing log."""
    proposals: tuple[tuple[bytes, Proposal], ...] = ()
    """Our own, from the signing log, under their digests."""


@dataclass(frozen=True, slots=True)
class ProposalSeen:
    """A proposal signed by the leader of its view, its body matching its header."""

    origin: PeerId
    proposal: Proposal
    digest: bytes


@dataclass(frozen=True, slots=True)
class VoteSeen:
    """A vote signed by a validator of this epoch."""

    origin: PeerId
    vote: Vote


@dataclass(frozen=True, slots=True)
class CertificateSeen:
    """A certificate that holds against the committee of this epoch."""

    origin: PeerId
    certificate: Certificate


@dataclass(frozen=True, slots=True)
class HearsaySeen:
    """What validators of this epoch signed, as somebody else passed it on: as much of it as was news."""

    said: tuple[tuple[bytes, Statement, bytes], ...]
    """Signer, statement, signature."""


@dataclass(frozen=True, slots=True)
class BlockFetched:
    """A body that was asked for, matching its header."""

    block: Block
    digest: bytes


@dataclass(frozen=True, slots=True)
class TimerFired:
    """A wait is over."""

    timer: Timer
    epoch: int
    view: int


@dataclass(frozen=True, slots=True)
class Validated:
    """The ledger's verdict on a block."""

    digest: bytes
    fault: str | None
    """None for a good block."""


@dataclass(frozen=True, slots=True)
class Built:
    """The ledger made the block that was asked for, and holds it to be valid."""

    epoch: int
    view: int
    block: Block
    digest: bytes


@dataclass(frozen=True, slots=True)
class Signed:
    """Our own vote is durable and may leave."""

    vote: Vote


@dataclass(frozen=True, slots=True)
class Proposed:
    """Our own proposal is durable and may leave."""

    proposal: Proposal
    digest: bytes


@dataclass(frozen=True, slots=True)
class Advanced:
    """Sync moved the final chain forward within this epoch."""

    header: Header
    digest: bytes
    certificate: Certificate


@dataclass(frozen=True, slots=True)
class PeerJoined:
    """A peer connected and may lack everything."""

    origin: PeerId


Event = (
    Resumed
    | ProposalSeen
    | VoteSeen
    | CertificateSeen
    | HearsaySeen
    | BlockFetched
    | TimerFired
    | Validated
    | Built
    | Signed
    | Proposed
    | Advanced
    | PeerJoined
)
