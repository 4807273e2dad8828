"""Measures what a decoder allocates."""

import gc
import tracemalloc
from collections.abc import Callable

FIXED = 16 * 1024
"""Bytes that a decoder may take whatever its input: exceptions, frames, small objects."""

MEASURES = 3


def peak_of(run: Callable[[], object]) -> int:
    """Bytes allocated at the worst moment of `run`: the least of some measures.

    What other threads of the process allocate meanwhile is counted too, and none of it is the decoder's; nor
    is what it builds once, such as a schema, or what the garbage of earlier tests does when it is collected.
    """
    return min(_peak(run) for _ in range(MEASURES))


def _peak(run: Callable[[], object]) -> int:
    gc.disable()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        run()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
        gc.enable()
