"""One block in the making: what every rule needs at hand, and the events it leaves behind."""

from dataclasses import dataclass, field

from chain.codec import U64, Hash32, PublicKey
from chain.execution.ledger import Ledger
from chain.execution.models import ModelRegistry
from chain.reasons import Reason
from chain.types.params import ChainParams
from chain.types.receipt import MAX_DETAIL_BYTES, Event


@dataclass(frozen=True, slots=True)
class BlockContext:
    """What a block says of itself before its transactions run; taken from its checked header."""

    height: U64
    epoch: U64
    timestamp_ms: U64
    proposer: PublicKey
    """Consensus key."""
    parent_beacon: Hash32
    beacon: Hash32
    base_fee: U64


@dataclass(slots=True)
class Run:
    """A block while it executes."""

    ledger: Ledger
    context: BlockContext
    params: ChainParams
    models: ModelRegistry
    events: list[Event] = field(default_factory=list)

    def emit(
        self, reason: Reason, subject: bytes, *, other: bytes = b"", amount: int = 0, detail: str = ""
    ) -> None:
        """Leave an event in somebody's story."""
        self.events.append(Event(reason, subject, other, amount, bounded_text(detail)))

    def take_events(self) -> tuple[Event, ...]:
        """The events since the last call."""
        events, self.events = tuple(self.events), []
        return events


def bounded_text(text: str) -> str:
    """Text cut to what an event's detail may hold."""
    return text.encode()[:MAX_DETAIL_BYTES].decode(errors="ignore")
