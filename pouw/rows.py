"""The commitment to one tensor: a hash tree over its rows.

A leaf is keyed by everything that says which tensor it belongs to (context, position in the program, shape,
type) and ends in its own index, so a row cannot stand for a row of another place, shape, task, miner or
chain.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from blake3 import blake3

from pouw import merkle
from pouw.hashing import domain, keyed, u32, u64
from pouw.tensors import Array, TensorSpec

_TENSOR: Final = domain("tensor")
_NODE: Final = domain("row node")

WEIGHTS: Final = domain("weights")
"""The context of model weights, which belong to no chain, miner or task."""


def tensor_key(context: bytes, index: int, spec: TensorSpec) -> bytes:
    """The key of a tensor's leaves, 32 bytes.

    Args:
        context: 32 bytes that name the task and its miner, or WEIGHTS.
        index: position among the tensors of the program; 0 for weights.
        spec: the tensor's shape and type.
    """
    shape = u32(index) + u32(spec.dtype) + u64(spec.rows) + u64(spec.cols)
    return keyed(_TENSOR, context + shape)


def leaf_hash(key: bytes, leaf: int, data: bytes) -> bytes:
    """The hash of one leaf.

    Args:
        key: from `tensor_key`.
        leaf: its index.
        data: the bytes of its rows, in order.
    """
    return blake3(data + u64(leaf), key=key).digest()


def join_rows(left: bytes, right: bytes) -> bytes:
    """The parent of two nodes of a row tree."""
    return blake3(left + right, key=_NODE).digest()


class RowTree:
    """A tensor with its row tree.

    Args:
        context: see `tensor_key`.
        index: see `tensor_key`.
        spec: shape and type of the tensor.
        array: the tensor itself; `spec.holds(array)`.
    """

    def __init__(self, context: bytes, index: int, *, spec: TensorSpec, array: Array) -> None:
        assert spec.holds(array), f"{array.dtype} {array.shape} is not {spec}"
        self._data = array.tobytes()
        self._leaf_bytes = spec.rows_per_leaf * spec.row_bytes
        key = tensor_key(context, index, spec)
        hashes = [leaf_hash(key, leaf, self.leaf(leaf)) for leaf in range(spec.leaves)]
        self._levels = merkle.levels(hashes, join_rows)

    @property
    def root(self) -> bytes:
        """The commitment, 32 bytes."""
        return self._levels[-1][0]

    def leaf(self, index: int) -> bytes:
        """The bytes of a leaf's rows."""
        return self._data[index * self._leaf_bytes : (index + 1) * self._leaf_bytes]

    def path(self, leaves: Sequence[int]) -> bytes:
        """The sibling hashes that open some leaves (ascending, distinct), joined."""
        return b"".join(self._levels[level][i] for level, i in merkle.siblings(len(self._levels[0]), leaves))


def root_of_leaves(leaves: Sequence[bytes]) -> bytes:
    """The root over all leaf hashes of a tensor."""
    return merkle.levels(leaves, join_rows)[-1][0]


def root_from(spec: TensorSpec, opened: Iterable[tuple[int, bytes]], nodes: Iterable[bytes]) -> bytes:
    """The root that some opened leaves lead to.

    Args:
        spec: the tensor's shape and type.
        opened: (leaf, leaf hash) pairs, ascending.
        nodes: the hashes that `merkle.siblings` names.
    """
    return merkle.fold(spec.leaves, opened, nodes, join_rows)
