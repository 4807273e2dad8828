"""Products of int8 matrices on the host, in stretches that are finished while they lie in the cache."""

from collections.abc import Callable
from typing import Final

import torch

from pouw.backends.parallel import in_stretches
from pouw.backends.torch_tensors import Multiply

_WORTH: Final = 1 << 21
"""Multiply-accumulates that another thread must have to do: ten microseconds' worth."""

_BLOCK: Final = 1 << 19
"""Sums computed at a time: 2 MiB of int32. Smaller blocks were measured and gain nothing."""

_COLUMNS: Final = 256
"""Columns computed at a time, at least: narrower products lose more than their sums' passage costs."""


def product_in_stretches(
    multiply: Multiply,
    a: torch.Tensor,
    b: torch.Tensor,
    finish: Callable[[torch.Tensor, int], None],
    *,
    threads: int,
) -> None:
    """Compute A · Bᵀ some columns at a time, and hand each part on.

    Args:
        multiply: how.
        a: int8 [m,k].
        b: int8 [n,k].
        finish: takes int32 [m, some] and the number of its first column; called from several threads.
        threads: how many may run.
    """
    (m, k), n = a.shape, b.shape[0]
    width = max(_COLUMNS, _BLOCK // m)

    def some(start: int, stop: int) -> None:
        for first in range(start, stop, width):
            finish(multiply(a, b[first : min(first + width, stop)]), first)

    in_stretches(some, n, values=m * n * k, threads=threads, worth=_WORTH)


def whole_product(multiply: Multiply, a: torch.Tensor, b: torch.Tensor, *, threads: int) -> torch.Tensor:
    """A · Bᵀ as int32 [m,n]; see `product_in_stretches`."""
    if threads == 1:
        return multiply(a, b)
    (m, k), n = a.shape, b.shape[0]
    if m * n * k < 2 * _WORTH:
        return multiply(a, b)
    total = torch.empty((m, n), dtype=torch.int32)

    def some(start: int, stop: int) -> None:
        total[:, start:stop] = multiply(a, b[start:stop])

    in_stretches(some, n, values=m * n * k, threads=threads, worth=_WORTH)
    return total
