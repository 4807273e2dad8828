"""Measures what a decoder allocates."""

import tracemalloc
from collections.abc import Callable

FIXED = 16 * 1024
"""Bytes that a decoder may take whatever its input: exceptions, frames, small objects."""


def peak_of(run: Callable[[], object]) -> int:
    """Bytes allocated at the worst moment of `run`."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        run()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
