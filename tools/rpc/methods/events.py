"""The ledger's events in order."""

from collections.abc import Iterator

from chain.types.receipt import BlockOutcome, Event


def all_events(outcome: BlockOutcome) -> Iterator[Event]:
    """A block's events in the order in which they happened."""
    yield from outcome.opening
    for receipt in outcome.receipts:
        yield from receipt.events
    yield from outcome.closing
