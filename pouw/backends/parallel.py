"""Work dealt out to threads of our own.

torch's threads wait for each other at the end of every operation, spinning: where another program takes a
core away, a product of a tenth of a millisecond takes twenty. So torch computes on the thread that calls it,
and whole stretches of an op, product and all, are dealt out here; each gives its core back when it is done.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any, Final

import torch

HOST_THREADS: Final = torch.get_num_threads()
"""What torch would use if it were asked for nothing: the cores, or what the environment says."""

WORTH_A_THREAD: Final = 1 << 16
"""Values that a loop must look at before handing half of them to another thread pays."""


def stay_on_thread() -> None:
    """Make torch use no other thread than the caller's, in this thread and in all that start later."""
    torch.set_num_threads(1)


def in_stretches(
    work: Callable[[int, int], Any], count: int, *, values: int, threads: int, worth: int = WORTH_A_THREAD
) -> None:
    """Call work(start, stop) so that the stretches cover 0..count-1.

    Args:
        work: writes what belongs to its stretch and reads nothing that another writes.
        count: what is divided: rows, columns or heads.
        values: how much is to do in all.
        threads: the most that may run, the caller's included.
        worth: of `values`, what a thread must have to do.
    """
    if threads == 1 or count == 1 or values < 2 * worth:
        work(0, count)
        return
    parts = min(threads, count, values // worth)
    ends = [count * part // parts for part in range(parts + 1)]
    others = []
    for part in range(1, parts):
        try:
            others.append(_pool(threads).submit(work, ends[part], ends[part + 1]))
        except RuntimeError:
            # The program is ending, and its threads take nothing more.
            work(ends[part], ends[part + 1])
    work(0, ends[1])
    for other in others:
        other.result()


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads - 1, thread_name_prefix="exact work", initializer=stay_on_thread)
