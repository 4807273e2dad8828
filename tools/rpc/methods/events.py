"""The ledger's events in order, and as people read them."""

from collections.abc import Iterator

from chain.types.receipt import BlockOutcome, Event
from tools.rpc.meanings import meaning_of
from tools.rpc.messages import EventView


def all_events(outcome: BlockOutcome) -> Iterator[Event]:
    """A block's events in the order in which they happened."""
    yield from outcome.opening
    for receipt in outcome.receipts:
        yield from receipt.events
    yield from outcome.closing


def event_view(height: int, event: Event) -> EventView:
    """One line of somebody's story."""
    meaning = meaning_of(event.reason)
    return EventView(
        height=height,
        reason=event.reason,
        explanation=event.reason.explanation,
        subject=event.subject,
        subject_kind=meaning.subject,
        other=event.other,
        other_kind=meaning.other if event.other else "",
        amount=event.amount,
        amount_kind=meaning.amount,
        detail=event.detail,
    )
