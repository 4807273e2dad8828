"""What a block puts into the database, and what has to go with it."""

from collections.abc import Iterable, Iterator, Mapping

from chain.codec import encode
from chain.layout import (
    BODY,
    CERTIFICATE,
    COMMITTEE,
    HEADER,
    HEIGHT_OF_BLOCK,
    OUTCOME,
    PLACE_OF_TRANSACTION,
    Body,
    Changes,
    EpochEnd,
    Old,
    Place,
    Sealed,
    Undo,
    number,
    subject_prefix,
)
from chain.reasons import Reason
from chain.state.tree import StateTree
from chain.types.block import Block, Header
from chain.types.committee import Committee
from chain.types.receipt import BlockOutcome, Event


def block_records(
    block: Block,
    outcome: BlockOutcome,
    certificate: bytes | None,
    next_committee: Committee | None,
    *,
    epoch: int,
) -> Changes:
    """Everything that is written for a block, but the state; `epoch` is the next committee's."""
    header = block.header
    at = number(header.height)
    changes: Changes = [
        (HEADER + at, encode(header)),
        (BODY + at, encode(Body(block.transactions))),
        (OUTCOME + at, encode(outcome)),
        (HEIGHT_OF_BLOCK + header.digest, at),
    ]
    if certificate is not None:
        changes.append((CERTIFICATE + at, encode(Sealed(certificate))))
    if next_committee is not None:
        changes.append((COMMITTEE + number(epoch), encode(next_committee)))
    for index, transaction in enumerate(block.transactions):
        changes.append((PLACE_OF_TRANSACTION + transaction.id, encode(Place(header.height, index))))
    changes += [(key, encode(event)) for key, event in event_entries(header.height, outcome)]
    return changes


def clearing(block: Block, outcome: BlockOutcome) -> Changes:
    """What takes a block out of the database, but for the state, its committee and its undo record."""
    header = block.header
    at = number(header.height)
    keys = [HEADER + at, BODY + at, OUTCOME + at, CERTIFICATE + at, HEIGHT_OF_BLOCK + header.digest]
    keys += [PLACE_OF_TRANSACTION + transaction.id for transaction in block.transactions]
    keys += [key for key, _ in event_entries(header.height, outcome)]
    return [(key, None) for key in keys]


def ends_records(ends: Iterable[EpochEnd]) -> Changes:
    """What is kept for ever of the ends of epochs: what proves every later committee."""
    changes: Changes = []
    for end in ends:
        at = number(end.header.height)
        changes += [
            (HEADER + at, encode(end.header)),
            (HEIGHT_OF_BLOCK + end.header.digest, at),
            (CERTIFICATE + at, encode(Sealed(end.certificate))),
            (COMMITTEE + number(end.header.epoch + 1), encode(end.next_committee)),
        ]
    return changes


def event_entries(height: int, outcome: BlockOutcome) -> Iterator[tuple[bytes, Event]]:
    """The index of a block's events: each under its subject, and under the other party.

    The fees that a block burned are not among them: one a block would bury its proposer's story.
    """
    at = number(height)
    for place, event in enumerate(events_of(outcome)):
        if event.reason is Reason.FEE_BURNED:
            continue
        for party in dict.fromkeys((event.subject, event.other)):
            if party:
                yield subject_prefix(party) + at + place.to_bytes(4, "big"), event


def events_of(outcome: BlockOutcome) -> Iterator[Event]:
    """A block's events in the order in which they happened."""
    yield from outcome.opening
    for receipt in outcome.receipts:
        yield from receipt.events
    yield from outcome.closing


def fees_burned(outcome: BlockOutcome) -> int:
    """Coins that a block burned for its proposer's account of it."""
    return sum(event.amount for event in outcome.closing if event.reason is Reason.FEE_BURNED)


def undo_of(
    changes: Mapping[bytes, bytes | None], written: Mapping[bytes, bytes | None], state: StateTree
) -> Undo:
    """What takes the changes of a block back.

    Args:
        changes: What the block wrote.
        written: What the blocks between `state` and this one wrote.
        state: The one before them.
    """
    entries: list[Old] = []
    for key in changes:
        value = written[key] if key in written else state.get(key)
        entries.append(Old(key, () if value is None else (value,)))
    return Undo(tuple(entries))


def ends_epoch(header: Header, above: Header) -> bool:
    """Whether a header is the last of its epoch: what proves every later committee."""
    return above.epoch > header.epoch
