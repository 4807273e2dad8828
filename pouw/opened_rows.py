"""Opened leaves and the roots they lead to: the same for the tensors of a run and for those of a model."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from pouw import merkle
from pouw.hashing import HASH_BYTES
from pouw.openings import Place
from pouw.proof import OpenedLeaf, ProofError, ProofReason
from pouw.rows import leaf_hash, root_from
from pouw.tensors import Array, TensorSpec


def split_hashes(joined: bytes) -> list[bytes]:
    """Joined hashes, apart."""
    return [joined[i : i + HASH_BYTES] for i in range(0, len(joined), HASH_BYTES)]


def check_places(leaves: Sequence[OpenedLeaf], wanted: Sequence[Place], *, where: str) -> None:
    """Compare what is opened with what had to be.

    Args:
        leaves: as they came.
        wanted: ascending.
        where: for the message.

    Raises:
        ProofError: WRONG_POSITION.
    """
    for got, expected in zip(leaves, wanted, strict=False):
        if (got.tensor, got.leaf) != expected:
            raise ProofError(
                ProofReason.WRONG_POSITION,
                f"{where} opens leaf {got.leaf} of tensor {got.tensor}, drawn was leaf {expected[1]} of "
                f"tensor {expected[0]}",
            )
    if len(leaves) != len(wanted):
        raise ProofError(
            ProofReason.WRONG_POSITION, f"{where} opens {len(leaves)} leaves, drawn were {len(wanted)}"
        )


@dataclass(frozen=True, slots=True)
class Forest:
    """Several tensors with row trees.

    Args:
        where: names them in messages.
        spec: shape of a tensor.
        key: key of a tensor's leaves.
    """

    where: str
    spec: Callable[[int], TensorSpec]
    key: Callable[[int], bytes]

    def roots(self, leaves: Sequence[OpenedLeaf], path: bytes) -> dict[int, bytes]:
        """The root that each tensor's opened leaves lead to.

        Args:
            leaves: ascending by place; their places have been checked.
            path: sibling hashes, tensor by tensor, joined.

        Raises:
            ProofError: ROW_SIZE, PATH_LENGTH.
        """
        nodes = split_hashes(path)
        used = 0
        roots = {}
        for tensor, group in groupby(leaves, key=lambda opened: opened.tensor):
            spec, key = self.spec(tensor), self.key(tensor)
            opened = list(group)
            for leaf in opened:
                size = len(spec.leaf_bytes(leaf.leaf))
                if len(leaf.data) != size:
                    raise ProofError(
                        ProofReason.ROW_SIZE,
                        f"leaf {leaf.leaf} of tensor {tensor} in {self.where} has {len(leaf.data)} bytes, "
                        f"its shape says {size}",
                    )
            wanted = len(merkle.siblings(spec.leaves, [leaf.leaf for leaf in opened]))
            if used + wanted > len(nodes):
                break
            hashes = [(leaf.leaf, leaf_hash(key, leaf.data)) for leaf in opened]
            roots[tensor] = root_from(spec, hashes, nodes[used : used + wanted])
            used += wanted
        if used != len(nodes) or (leaves and leaves[-1].tensor not in roots):
            raise ProofError(
                ProofReason.PATH_LENGTH, f"{len(nodes)} nodes do not climb the row trees of {self.where}"
            )
        return roots


def rows_of(spec: TensorSpec, leaf: Callable[[int], bytes], rows: range) -> Array:
    """Neighbouring rows of a tensor, [len(rows), cols], from opened leaves.

    Args:
        spec: shape and type of the tensor.
        leaf: the bytes of a leaf; asked for those alone that hold the rows.
        rows: which; at least one.
    """
    leaves = spec.leaves_over(rows)
    data = b"".join(map(leaf, leaves))
    first = rows.start * spec.row_bytes - spec.leaf_bytes(leaves.start).start
    flat = np.frombuffer(data, spec.dtype.numpy, count=len(rows) * spec.cols, offset=first)
    return flat.reshape(len(rows), spec.cols)


def values_of(spec: TensorSpec, leaf: Callable[[int], bytes], row: int, *, cols: range) -> Array:
    """Neighbouring values of a row, 1-D, from opened leaves.

    Args:
        spec: shape and type of the tensor.
        leaf: the bytes of a leaf; asked for those alone that hold the values.
        row: of the tensor.
        cols: which values; at least one.
    """
    low, high = spec.leaf_of(row, cols.start), spec.leaf_of(row, cols.stop - 1)
    data = leaf(low) if low == high else b"".join(map(leaf, range(low, high + 1)))
    first = row * spec.row_bytes + cols.start * spec.dtype.size - spec.leaf_bytes(low).start
    return np.frombuffer(data, spec.dtype.numpy, count=len(cols), offset=first)
