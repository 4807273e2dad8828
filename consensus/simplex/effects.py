"""What the protocol wants done. A shell performs the effects of one step in order, each before the next."""

from dataclasses import dataclass

from chain.types.block import Block, Header
from chain.types.evidence import Evidence
from chain.types.statement import Statement
from consensus.messages import Certificate, ConsensusMessage
from consensus.simplex.events import Timer
from p2p.network import PeerId


@dataclass(frozen=True, slots=True)
class Save:
    """Make certificates and bodies durable: signatures that follow in this step rely on them."""

    certificates: tuple[Certificate, ...] = ()
    blocks: tuple[tuple[bytes, Block], ...] = ()


@dataclass(frozen=True, slots=True)
class Sign:
    """Sign a vote through the guard; answered by `events.Signed`, or by nothing if it refuses."""

    statement: Statement


@dataclass(frozen=True, slots=True)
class Propose:
    """Sign a proposal through the guard; answered by `consensus.simplex.events.Proposed`."""

    view: int
    block: Block


@dataclass(frozen=True, slots=True)
class Broadcast:
    """Send to every peer."""

    message: ConsensusMessage


@dataclass(frozen=True, slots=True)
class Send:
    """Send to one peer."""

    to: PeerId
    message: ConsensusMessage


@dataclass(frozen=True, slots=True)
class Validate:
    """Have the ledger execute a block; answered by `consensus.simplex.events.Validated`."""

    block: Block
    digest: bytes


@dataclass(frozen=True, slots=True)
class Build:
    """Have the ledger make a block, not before the block interval has passed; answered by `events.Built`."""

    epoch: int
    view: int
    parent: Header
    parent_digest: bytes


@dataclass(frozen=True, slots=True)
class SetTimer:
    """Answered by `events.TimerFired` after ``delay_ms``, unless the view is over by then."""

    timer: Timer
    epoch: int
    view: int
    delay_ms: int


@dataclass(frozen=True, slots=True)
class Fetch:
    """Ask for bodies and certificates, ``holders`` first; they come back as events, or not at all."""

    epoch: int
    digests: tuple[bytes, ...]
    first_view: int
    end_view: int
    """Certificates of the views from ``first_view`` up to, not including, this one."""
    holders: tuple[bytes, ...]
    """Consensus keys of validators that must have them if they are honest."""


@dataclass(frozen=True, slots=True)
class Finalize:
    """Write final blocks, oldest first, with the certificate of the last, durably."""

    blocks: tuple[Block, ...]
    certificate: Certificate


@dataclass(frozen=True, slots=True)
class Report:
    """A peer did what no honest peer does."""

    origin: PeerId
    reason: str


@dataclass(frozen=True, slots=True)
class Accuse:
    """Proof that a validator signed two statements that exclude each other."""

    evidence: Evidence


Effect = (
    Save
    | Sign
    | Propose
    | Broadcast
    | Send
    | Validate
    | Build
    | SetTimer
    | Fetch
    | Finalize
    | Report
    | Accuse
)
