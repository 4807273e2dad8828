"""The part of the known-answer test for devices that hash; the answer is BLAKE3, called hash by hash."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from pouw.arithmetic.generator import random_bytes
from pouw.backends.backend import Backend, BackendError
from pouw.hashing import HASH_BYTES, domain
from pouw.tensors import Array, DType, TensorSpec
from pouw.trees.merkle import levels
from pouw.trees.rows import Nodes, RowLeaves, RowTree, Tree, hash_one_by_one, levels_one_by_one, tensor_key

SMALL: Final = (
    (1, 1, DType.INT8), (3, 7, DType.INT8), (5, 24, DType.INT16), (19, 40, DType.INT16),
    (65, 33, DType.INT32),
)  # fmt: skip
"""Rows, columns and types: one leaf, lone nodes, lines that no load divides, rows that share leaves, and ones
that are cut into them."""

SHAPES: Final = (
    *SMALL, (1, 70001, DType.INT8), (700, 64, DType.INT8), (333, 1040, DType.INT8), (1500, 1024, DType.INT16),
)  # fmt: skip
"""Also every size of a leaf, and trees of more levels than one call makes."""

_CONTEXT: Final = domain("known rows")


def check_rows(backend: Backend, shapes: Sequence[tuple[int, int, DType]] = SHAPES) -> None:
    """Run the test.

    Args:
        backend: the one whose `rows` want to serve.
        shapes: of what is hashed.

    Raises:
        BackendError: if a single bit differs.
    """
    assert backend.rows is not None, "nothing to test"
    for number, (rows, cols, dtype) in enumerate(shapes):
        spec = TensorSpec(rows, cols, dtype)
        for fill in range(2):
            array = _filled(spec, fill)
            tree = backend.rows.tree(tensor_key(_CONTEXT, number, spec), spec, backend.put(array))
            expected = RowTree(_CONTEXT, number, spec=spec, array=array, hasher=hash_one_by_one)
            if _all(tree) != _all(expected) or _shared(backend, spec, array) != _shared_here(spec, array):
                raise BackendError(f"{backend.name} hashes wrongly on this machine: {spec}, fill {fill}")


def _filled(spec: TensorSpec, fill: int) -> Array:
    """Numbers of the full range, or ones below 0 in front of ever more zeros, with whole leaves of them."""
    if fill:
        below = np.tril(np.full((spec.rows, spec.cols), -1, spec.dtype.numpy), k=spec.cols // 3)
        below[spec.rows // 2 : spec.rows // 2 + 9] = 0
        return below
    noise = random_bytes(b"known rows", path=(spec.rows,), count=spec.rows * spec.row_bytes)
    return np.frombuffer(noise, spec.dtype.numpy).reshape(spec.rows, spec.cols)


def _all(tree: Tree) -> tuple[bytes, bytes, bytes]:
    """The root, all nodes, and what the middle leaf holds."""
    return tree.root, _every(tree.nodes), tree.read(tree.spec.leaf_bytes(tree.spec.leaves // 2))


def _every(nodes: Nodes) -> bytes:
    shape = levels(range(nodes.leaves), lambda left, _: left)
    return nodes.read((level, index) for level, row in enumerate(shape) for index in range(len(row)))


def _keys(spec: TensorSpec) -> list[bytes]:
    return [tensor_key(_CONTEXT, number, spec) for number in range(2)]


def _shared(backend: Backend, spec: TensorSpec, array: Array) -> bytes:
    """All nodes of a tree in which a tensor lies beside itself."""
    assert backend.rows is not None, "nothing to test"
    members = [backend.rows.leaves(key, spec, backend.put(array)) for key in _keys(spec)]
    part = spec.leaves_per_row
    return _every(backend.rows.shared(members, parts=(part, part), lines=spec.leaves // part))


def _shared_here(spec: TensorSpec, array: Array) -> bytes:
    part, size = spec.leaves_per_row, HASH_BYTES
    hashes = [RowLeaves(key, spec, array).hashes for key in _keys(spec)]
    lines = [own[i : i + part * size] for i in range(0, spec.leaves * size, part * size) for own in hashes]
    return b"".join(map(bytes, levels_one_by_one(b"".join(lines))))
