"""Row trees of whole tensors at a time, wherever numba is at hand; the miner's side, never the verifier's.

Loading compiled code takes most of a second, so it is loaded when a large tensor comes, or once hashing one
by one has taken about as long. Both ways give the same bits.
"""

from collections.abc import Callable
from importlib import import_module
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pouw.hashing import HASH_BYTES
from pouw.rows import NODE, Levels, hash_one_by_one
from pouw.tensors import TensorSpec

LARGE_BYTES: Final = 1 << 18
"""A tensor of this size is reason enough to load the kernel."""

MANY_LEAVES: Final = 1 << 18
"""So are so many leaves hashed one by one, half a second of them."""

FEW_LEAVES: Final = 8
"""Fewer than these are quicker one by one."""

_Kernel = tuple[Callable[..., None], Callable[..., None]]


class BulkHasher:
    """A `RowHasher` that hashes whole tensors where that pays, and one by one where it does not.

    Args:
        load: gives the kernel's functions for leaves and for levels, or raises ImportError or OSError;
            called once.
    """

    def __init__(self, load: Callable[[], _Kernel]) -> None:
        self._load = load
        self._kernel: _Kernel | None = None
        self._refused = False
        self._leaves = 0

    def __call__(self, key: bytes, spec: TensorSpec, data: NDArray[np.uint8]) -> Levels:
        """See `RowHasher`."""
        if self._kernel is None and not self._refused:
            self._leaves += spec.leaves
            if data.size >= LARGE_BYTES or self._leaves >= MANY_LEAVES:
                self._get()
        if self._kernel is None or spec.leaves < FEW_LEAVES:
            return hash_one_by_one(key, spec, data)
        return _in_bulk(self._kernel, key, spec, data=data)

    def _get(self) -> None:
        try:
            self._kernel = self._load()
        except (ImportError, OSError):
            # OSError: numba is there, and a library that it loads is not.
            self._refused = True


def _in_bulk(kernel: _Kernel, key: bytes, spec: TensorSpec, *, data: NDArray[np.uint8]) -> Levels:
    leaves, levels = kernel
    counts = [spec.leaves]
    while counts[-1] > 1:
        counts.append((counts[-1] + 1) // 2)
    nodes = np.empty((sum(counts), HASH_BYTES // 4), np.uint32)
    line = spec.rows_per_leaf * spec.row_bytes
    leaves(data, line, spec.part_bytes, np.frombuffer(key, np.uint32), nodes, 0, spec.leaves)
    levels(nodes, spec.leaves, np.frombuffer(NODE, np.uint32))
    joined, found, start = memoryview(nodes.tobytes()), [], 0
    for count in counts:
        found.append(joined[start : start + count * HASH_BYTES])
        start += count * HASH_BYTES
    return found


def _load() -> _Kernel:
    # By name: a node that only checks proofs has no numba, and nothing that it imports may ask for it.
    module = import_module("pouw.kernels.blake3_rows")
    return module.hash_leaves, module.hash_levels


hash_in_bulk: Final = BulkHasher(_load)
"""The hasher of this process."""
