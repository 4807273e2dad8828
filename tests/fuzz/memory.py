"""What reading an input costs in memory, at most."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Final

from tests.memory_bound import FIXED, peak_of

TIMES: Final = 8
"""Bytes that a decoder may take at once for each byte of its input."""


def dearest(read: Callable[[bytes], object], inputs: Iterable[bytes]) -> tuple[float, bytes]:
    """The input that costs most beyond what any may, as bytes a byte of its own, and that input."""
    worst = (0.0, b"")
    for data in inputs:
        excess = max(0, peak_of(partial(read, data)) - FIXED)
        worst = max(worst, (excess / max(1, len(data)), data))
    return worst
