"""The commitment to one tensor: a hash tree over its rows.

A leaf holds a row, or as many short rows as share one, or a part of a long row. It is keyed by everything
that says which tensor it belongs to (context, position in the program, shape, type); which leaf of the tensor
it is follows from the path, left or right at every node of a tree whose shape the verifier knows. So a row
cannot stand for a row of another place, shape, task, miner or chain.

Zeros at the end of a leaf are not hashed: its length is known, so what is left says as much. Half of the
attention weights of a causal model are such zeros.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from copy import copy
from typing import Final

import numpy as np
from blake3 import blake3
from numpy.typing import NDArray

from pouw.hashing import HASH_BYTES, domain, keyed, u32, u64
from pouw.tensors import Array, TensorSpec
from pouw.trees import merkle

_TENSOR: Final = domain("tensor")
NODE: Final = domain("row node")
"""The key of all nodes above leaves."""

WEIGHTS: Final = domain("weights")
"""The context of model weights, which belong to no chain, miner or task."""

Levels = Sequence[bytes | memoryview]
"""All nodes of a tree: the hashes of each level joined, leaves first, root last."""

RowHasher = Callable[[bytes, TensorSpec, NDArray[np.uint8]], Levels]
"""Makes the tree of a tensor from the key of its leaves, its shape, and its bytes, 1-D."""

LeafHasher = Callable[[bytes, TensorSpec, NDArray[np.uint8]], bytes]
"""Makes the leaves alone, joined."""


def tensor_key(context: bytes, index: int, spec: TensorSpec) -> bytes:
    """The key of a tensor's leaves, 32 bytes.

    Args:
        context: 32 bytes that name the task and its miner, or WEIGHTS.
        index: position among the tensors of the program; 0 for weights.
        spec: the tensor's shape and type.
    """
    shape = u32(index) + u32(spec.dtype) + u64(spec.rows) + u64(spec.cols)
    return keyed(_TENSOR, context + shape)


def leaf_hash(key: bytes, data: bytes) -> bytes:
    """The hash of one leaf.

    Args:
        key: from `tensor_key`.
        data: all of its bytes.
    """
    return blake3(data.rstrip(b"\0"), key=key).digest()


def join_rows(left: bytes, right: bytes) -> bytes:
    """The parent of two nodes of a row tree."""
    return blake3(left + right, key=NODE).digest()


def leaves_one_by_one(key: bytes, spec: TensorSpec, data: NDArray[np.uint8]) -> bytes:
    """The joined hashes of a tensor's leaves, by a call of BLAKE3 for each; see `LeafHasher`."""
    return b"".join(_leaves(key, spec, data))


def levels_one_by_one(leaves: bytes) -> Levels:
    """The tree over joined hashes of leaves, at least one, by a call of BLAKE3 for each node."""
    return _levels([leaves[i : i + HASH_BYTES] for i in range(0, len(leaves), HASH_BYTES)])


def hash_one_by_one(key: bytes, spec: TensorSpec, data: NDArray[np.uint8]) -> Levels:
    """The tree of a tensor, by a call of BLAKE3 for each node: see `RowHasher`."""
    return _levels(_leaves(key, spec, data))


def _leaves(key: bytes, spec: TensorSpec, data: NDArray[np.uint8]) -> list[bytes]:
    whole = data.tobytes()
    places = map(spec.leaf_bytes, range(spec.leaves))
    return [leaf_hash(key, whole[place.start : place.stop]) for place in places]


def _levels(leaves: list[bytes]) -> Levels:
    return [b"".join(level) for level in merkle.levels(leaves, join_rows)]


class Nodes(ABC):
    """All nodes of a row tree, wherever they lie.

    Args:
        leaves: how many the tree has.
    """

    def __init__(self, leaves: int) -> None:
        self.leaves = leaves

    @property
    @abstractmethod
    def root(self) -> bytes:
        """The commitment, 32 bytes."""

    @property
    @abstractmethod
    def size(self) -> int:
        """Bytes of all nodes."""

    @abstractmethod
    def read(self, places: Iterable[tuple[int, int]]) -> bytes:
        """Some hashes, by level (leaves are 0) and index there, joined."""

    def path(self, leaves: Sequence[int]) -> bytes:
        """The sibling hashes that open some leaves (ascending, distinct), joined."""
        return self.read(merkle.siblings(self.leaves, leaves))


class HostNodes(Nodes):
    """Nodes in the memory of the host.

    Args:
        levels: their hashes.
    """

    def __init__(self, levels: Levels) -> None:
        super().__init__(len(levels[0]) // HASH_BYTES)
        self._levels = levels

    @property
    def root(self) -> bytes:
        """See `Nodes.root`."""
        return bytes(self._levels[-1])

    @property
    def size(self) -> int:
        """See `Nodes.size`."""
        return sum(map(len, self._levels))

    def read(self, places: Iterable[tuple[int, int]]) -> bytes:
        """See `Nodes.read`."""
        return b"".join(
            bytes(self._levels[level][i * HASH_BYTES : (i + 1) * HASH_BYTES]) for level, i in places
        )


class Rows(ABC):
    """A tensor whose leaves may be opened, wherever it lies."""

    spec: TensorSpec
    """Shape and type of the tensor."""

    @abstractmethod
    def read(self, place: range) -> bytes:
        """Some bytes of the tensor."""


class Tree(Rows):
    """A tensor with a row tree of its own."""

    nodes: Nodes

    @property
    def root(self) -> bytes:
        """The commitment, 32 bytes."""
        return self.nodes.root

    @abstractmethod
    def over(self, array: Array) -> "Tree":
        """The same tree over an equal array of the host, whose leaves it then opens."""


class HostRows(Rows):
    """A tensor of the host. It is not copied, and must not change.

    Args:
        spec: shape and type of the tensor.
        array: the tensor itself; `spec.holds(array)`.
    """

    def __init__(self, spec: TensorSpec, array: Array) -> None:
        assert spec.holds(array), f"{array.dtype} {array.shape} is not {spec}"
        self.spec = spec
        self._data = np.ascontiguousarray(array).reshape(-1).view(np.uint8)

    def read(self, place: range) -> bytes:
        """See `Rows.read`."""
        return self._data[place.start : place.stop].tobytes()


class RowLeaves(HostRows):
    """A tensor with the hashes of its leaves, for a tree that it shares with others.

    Args:
        key: of its leaves, from `tensor_key`.
        spec: see `HostRows`.
        array: see `HostRows`.
        hasher: makes the joined hashes; all give the same.
    """

    def __init__(
        self, key: bytes, spec: TensorSpec, array: Array, *, hasher: LeafHasher = leaves_one_by_one
    ) -> None:
        super().__init__(spec, array)
        self.hashes = hasher(key, spec, self._data)


class RowTree(HostRows, Tree):
    """A tensor of the host with its row tree.

    Args:
        context: see `tensor_key`.
        index: see `tensor_key`.
        spec: see `HostRows`.
        array: see `HostRows`.
        hasher: makes the tree; all give the same.
    """

    def __init__(
        self,
        context: bytes,
        index: int,
        *,
        spec: TensorSpec,
        array: Array,
        hasher: RowHasher = hash_one_by_one,
    ) -> None:
        super().__init__(spec, array)
        self.nodes = HostNodes(hasher(tensor_key(context, index, spec), spec, self._data))

    def over(self, array: Array) -> "RowTree":
        """See `Tree.over`."""
        tree = copy(self)
        tree._data = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        return tree
