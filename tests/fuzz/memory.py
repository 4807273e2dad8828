"""What reading an input costs in memory, at most."""

import tracemalloc
from collections.abc import Callable, Iterable
from typing import Final

TIMES: Final = 8
"""Bytes that a decoder may take at once for each byte of its input."""

FREE: Final = 1 << 14
"""Bytes that any input may cost, most of them the sentence that refuses it."""


def peak_of(read: Callable[[bytes], object], data: bytes) -> int:
    """Bytes that are in use at once, at most, while an input is read; `tracemalloc` must be tracing."""
    tracemalloc.reset_peak()
    before = tracemalloc.get_traced_memory()[0]
    read(data)
    return tracemalloc.get_traced_memory()[1] - before


def dearest(read: Callable[[bytes], object], inputs: Iterable[bytes]) -> tuple[float, bytes]:
    """The input that costs most beyond `FREE`, as bytes a byte of its own, and that input."""
    worst = (0.0, b"")
    tracemalloc.start()
    try:
        for data in inputs:
            read(data)  # what is built once, such as a schema, is nobody's cost
            excess = max(0, peak_of(read, data) - FREE)
            worst = max(worst, (excess / max(1, len(data)), data))
    finally:
        tracemalloc.stop()
    return worst
