"""Which of two nodes dials the other, and whose connection stays if both did."""

from hashlib import sha256

from p2p.network import PeerId


def dials(here: PeerId, there: PeerId) -> bool:
    """Whether `here` is the one of the two that dials; both come to the same answer.

    Every node dials about half of the others. If the lower id dialed, the nodes with the highest ids would
    have no connection that they chose themselves.
    """
    low, high = sorted((here, there))
    low_dials = sha256(f"headrace/pairing\0{low}\0{high}".encode()).digest()[0] % 2 == 0
    return here == (low if low_dials else high)
