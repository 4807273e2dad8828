"""Measures what a decoder allocates."""

import threading
import tracemalloc
from collections.abc import Callable

FIXED = 16 * 1024
"""Bytes that a decoder may take whatever its input: exceptions, frames, small objects."""

MEASURES = 3
WAIT_S = 120.0


def peak_of(run: Callable[[], object]) -> int:
    """Bytes allocated at the worst moment of `run`: the least of some measures.

    What other threads of the process allocate meanwhile is counted too, and none of it is the decoder's; nor
    is what it builds once, such as a schema.
    """
    _await_compilers()
    return min(_peak(run) for _ in range(MEASURES))


def _await_compilers() -> None:
    """Wait for the thread that an earlier test may have left to compile kernels, which allocates a lot."""
    for thread in threading.enumerate():
        if thread.name == "kernels":
            thread.join(WAIT_S)


def _peak(run: Callable[[], object]) -> int:
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        run()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
