"""What a peer that offers transactions says of itself, once a second, and what that comes to."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sample:
    """Sums since it began."""

    at: float
    """Seconds since 1970."""
    offered: int
    """Transactions: to each node if all get the same, else to all together."""
    fresh: int
    """Of these, how many no block held yet."""
    refused: int
    """Of those offered, how many did not leave: the nodes read too slowly, and a queue here is full."""
    landed: int
    """Its transfers that blocks hold."""
    proofs: int
    """Proofs of miners that blocks hold."""
    blocks: int
    """Final blocks that it has read."""
    short: int
    """Of the blocks of a saturation, how many left less on its way than they took."""
    waiting: int
    """Transfers offered, and in no block that it has read."""
    width: int
    """Transfers of one account on their way at most."""
    connected: int
    """Nodes."""


@dataclass(frozen=True, slots=True)
class Rates:
    """Of a stretch."""

    offered_per_s: float
    landed_per_s: float
    proofs_per_s: float
    fresh: float
    """Share of what was offered that no block held yet."""
    refused: float
    """Share of what was offered that back-pressure kept from leaving."""
    short: float
    """Share of the blocks that left less on its way than they took."""
    connected: int
    """Nodes at the worst moment."""


def rates(samples: Sequence[Sample], began: float, ended: float) -> Rates:
    """What the samples within a stretch come to.

    Args:
        samples: in order.
        began: seconds since 1970.
        ended: seconds since 1970.

    Raises:
        ValueError: There are fewer than two: the peer had no time to count.
    """
    found = [sample for sample in samples if began <= sample.at <= ended]
    if len(found) < 2:
        raise ValueError(f"{len(found)} samples in {ended - began:.0f} s")
    first, last = found[0], found[-1]
    seconds, offered = last.at - first.at, last.offered - first.offered
    return Rates(
        offered_per_s=offered / seconds,
        landed_per_s=(last.landed - first.landed) / seconds,
        proofs_per_s=(last.proofs - first.proofs) / seconds,
        fresh=(last.fresh - first.fresh) / max(1, offered),
        refused=(last.refused - first.refused) / max(1, offered),
        short=(last.short - first.short) / max(1, last.blocks - first.blocks),
        connected=min(sample.connected for sample in found),
    )
