"""Seats in proportion to weight, by systematic sampling: small miners get their turn, no rank cuts them off.

All weight is laid end to end in an order that the beacon shuffles, and ``seats`` points are set on it at
equal distances from one random start. A key holds as many seats as points fall on its stretch: the floor or
the ceiling of its quota, and over the random start exactly its quota in expectation. Whoever has a hundredth
of a seat sits in one committee of a hundred.

In the order of the keys themselves, whoever chooses many could lay them a seat apart: the points would then
fall on all of them or on none, and 30 % of the weight would hold a whole committee three times in ten.

(Madow, "On the theory of systematic sampling", 1949.)
"""

from collections.abc import Mapping

from chain.hashing import digest


def apportion_seats(weights: Mapping[bytes, int], *, seats: int, beacon: bytes) -> dict[bytes, int]:
    """Seats of each key that gets one, ascending by key.

    Args:
        weights: Non-negative weight by consensus key; their sum is positive.
        seats: Seats to give, at least 1.
        beacon: 32 bytes that nobody chose; the start is drawn from it.
    """
    total = sum(weights.values())
    assert total > 0 and seats > 0, f"{seats} seats over a weight of {total}"
    start = _start(beacon, total)
    given: dict[bytes, int] = {}
    passed, points = 0, 0
    for key in sorted(weights, key=lambda key: digest("headrace/seats-order", beacon, key)):
        passed += weights[key]
        # Point j lies at (start + j * total) / seats; those before `passed` have start + j * total < seats *
        # passed.
        before = max(0, -((start - seats * passed) // total))
        if before > points:
            given[key] = before - points
            points = before
    assert points == seats, f"{points} of {seats} seats given"
    return dict(sorted(given.items()))


def _start(beacon: bytes, total: int) -> int:
    """An integer in [0, total): 256 bits scaled down, whose bias is below total / 2**256."""
    return int.from_bytes(digest("headrace/seats", beacon), "big") * total >> 256
