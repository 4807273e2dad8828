"""Who leads a view: the holder of a seat that the epoch's beacon draws, so in proportion to seats."""

from chain.hashing import digest
from chain.types.committee import Committee


def leader_of(committee: Committee, *, beacon: bytes, epoch: int, view: int) -> bytes:
    """Consensus key of the leader of ``view``.

    Args:
        committee: The committee of ``epoch``.
        beacon: Of the last block of the epoch before (of genesis for epoch 0), the same for all views.
        epoch: Bound in, so that a committee that stays gets a new order.
        view: View within the epoch.
    """
    drawn = digest("headrace/leader", beacon, epoch.to_bytes(8, "little"), view.to_bytes(8, "little"))
    # 256 bits modulo at most 1024 seats: the bias is below 2**-245.
    return committee.seat_holder(int.from_bytes(drawn, "little") % committee.seats).consensus_key
