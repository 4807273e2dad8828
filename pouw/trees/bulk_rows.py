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
from pouw.tensors import TensorSpec
from pouw.trees.rows import NODE, Levels, hash_one_by_one, leaves_one_by_one, levels_one_by_one

LARGE_BYTES: Final = 1 << 18
"""A tensor of this size is reason enough to load the kernel."""

MANY_LEAVES: Final = 1 << 18
"""So are so many leaves hashed one by one, half a second of them."""

FEW_LEAVES: Final = 8
"""Fewer than these are quicker one by one."""

_WORDS: Final = HASH_BYTES // 4

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
        self._count(spec, data)
        if self._kernel is None or spec.leaves < FEW_LEAVES:
            return hash_one_by_one(key, spec, data)
        nodes = _room(spec.leaves)
        _hash_leaves(self._kernel, key, spec, data=data, nodes=nodes)
        return _hash_levels(self._kernel, nodes, spec.leaves)

    def leaves(self, key: bytes, spec: TensorSpec, data: NDArray[np.uint8]) -> bytes:
        """See `LeafHasher`."""
        self._count(spec, data)
        if self._kernel is None or spec.leaves < FEW_LEAVES:
            return leaves_one_by_one(key, spec, data)
        nodes = np.empty((spec.leaves, _WORDS), np.uint32)
        _hash_leaves(self._kernel, key, spec, data=data, nodes=nodes)
        return nodes.tobytes()

    def levels(self, leaves: bytes) -> Levels:
        """The tree over joined hashes of leaves, at least one."""
        count = len(leaves) // HASH_BYTES
        if self._kernel is None or count < FEW_LEAVES:
            return levels_one_by_one(leaves)
        nodes = _room(count)
        nodes[:count] = np.frombuffer(leaves, np.uint32).reshape(count, _WORDS)
        return _hash_levels(self._kernel, nodes, count)

    def _count(self, spec: TensorSpec, data: NDArray[np.uint8]) -> None:
        if self._kernel is None and not self._refused:
            self._leaves += spec.leaves
            if data.size >= LARGE_BYTES or self._leaves >= MANY_LEAVES:
                self._get()

    def _get(self) -> None:
        try:
            self._kernel = self._load()
        except (ImportError, OSError):
            # OSError: numba is there, and a library that it loads is not.
            self._refused = True


def level_sizes(leaves: int) -> list[int]:
    """How many nodes the levels of a tree have, leaves first; see `pouw.trees.merkle.levels`."""
    sizes = [leaves]
    while sizes[-1] > 1:
        sizes.append((sizes[-1] + 1) // 2)
    return sizes


def _room(leaves: int) -> NDArray[np.uint32]:
    """For all nodes of a tree."""
    return np.empty((sum(level_sizes(leaves)), _WORDS), np.uint32)


def _hash_leaves(
    kernel: _Kernel, key: bytes, spec: TensorSpec, *, data: NDArray[np.uint8], nodes: NDArray[np.uint32]
) -> None:
    line = spec.rows_per_leaf * spec.row_bytes
    kernel[0](data, line, spec.part_bytes, np.frombuffer(key, np.uint32), nodes, 0, spec.leaves)


def _hash_levels(kernel: _Kernel, nodes: NDArray[np.uint32], leaves: int) -> Levels:
    """All levels, from nodes whose first are the leaves."""
    kernel[1](nodes, leaves, np.frombuffer(NODE, np.uint32))
    joined, found, start = nodes.data.cast("B"), [], 0
    for count in level_sizes(leaves):
        found.append(joined[start : start + count * HASH_BYTES])
        start += count * HASH_BYTES
    return found


def _load() -> _Kernel:
    # By name: a node that only checks proofs has no numba, and nothing that it imports may ask for it.
    module = import_module("pouw.kernels.blake3_rows")
    return module.hash_leaves, module.hash_levels


hash_in_bulk: Final = BulkHasher(_load)
"""The hasher of this process."""
