"""Opened leaves and the roots they lead to: the same for the tensors of a run and for those of a model."""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from pouw.hashing import HASH_BYTES
from pouw.proofs.openings import Stretch, name_places
from pouw.proofs.packing import PackingError, unpack
from pouw.proofs.proof import OpenedRows, ProofError, ProofReason
from pouw.tensors import Array, TensorSpec
from pouw.trees import merkle
from pouw.trees.bundles import Bundles
from pouw.trees.rows import join_rows, leaf_hash


def split_hashes(joined: bytes) -> list[bytes]:
    """Joined hashes, apart."""
    return [joined[i : i + HASH_BYTES] for i in range(0, len(joined), HASH_BYTES)]


def check_places(opened: OpenedRows, wanted: Sequence[Stretch], *, where: str) -> None:
    """Compare the places of what is opened with what had to be.

    Args:
        opened: as it came.
        wanted: ascending.
        where: for the message.

    Raises:
        ProofError: WRONG_POSITION.
    """
    expected = name_places(wanted)
    if opened.places != expected:
        raise ProofError(
            ProofReason.WRONG_POSITION,
            f"{where} opens places that hash to {opened.places.hex()}, what was drawn to {expected.hex()}",
        )


class Leaves:
    """Opened leaves of several tensors, to be read by row.

    Args:
        spec: shape of a tensor.
        stretches: which leaves, ascending.
        data: the bytes of each stretch.
    """

    def __init__(
        self, spec: Callable[[int], TensorSpec], stretches: Sequence[Stretch], data: Sequence[bytes]
    ) -> None:
        self._spec = spec
        self._firsts = [(stretch.tensor, stretch.leaves[0]) for stretch in stretches]
        self._data = data

    def rows(self, tensor: int, rows: range) -> Array:
        """Neighbouring rows, [len(rows), cols]; their leaves must be among these."""
        spec = self._spec(tensor)
        flat = self._read(tensor, rows.start * spec.row_bytes, len(rows) * spec.cols)
        return flat.reshape(len(rows), spec.cols)

    def values(self, tensor: int, row: int, cols: range) -> Array:
        """Neighbouring values of a row, 1-D; their leaves must be among these."""
        spec = self._spec(tensor)
        return self._read(tensor, row * spec.row_bytes + cols.start * spec.dtype.size, len(cols))

    def _read(self, tensor: int, start: int, count: int) -> Array:
        spec = self._spec(tensor)
        row, inside = divmod(start, spec.row_bytes)
        leaf = spec.leaf_of(row, inside // spec.dtype.size)
        number = bisect_right(self._firsts, (tensor, leaf)) - 1
        offset = start - spec.leaf_bytes(self._firsts[number][1]).start
        return np.frombuffer(self._data[number], spec.dtype.numpy, count, offset)


@dataclass(frozen=True, slots=True)
class Forest:
    """Several tensors with row trees.

    Args:
        where: names them in messages.
        spec: shape of a tensor.
        key: key of a tensor's leaves.
        bundles: which of them share a tree.
    """

    where: str
    spec: Callable[[int], TensorSpec]
    key: Callable[[int], bytes]
    bundles: Bundles

    def rows(self, wanted: Sequence[Stretch], opened: OpenedRows) -> list[bytes]:
        """The bytes of each opened stretch.

        Args:
            wanted: what had to be opened, ascending.
            opened: its places have been checked.

        Raises:
            ProofError: ROW_SIZE.
        """
        runs = [stretch.run_of(self.spec(stretch.tensor)) for stretch in wanted]
        try:
            return unpack(runs, opened.widths, opened.rows)
        except PackingError as error:
            raise ProofError(ProofReason.ROW_SIZE, f"the rows of {self.where}: {error}") from error

    def roots(self, wanted: Sequence[Stretch], data: Sequence[bytes], path: bytes) -> dict[int, bytes]:
        """The root that the opened leaves of each tree lead to, by the number of its bundle.

        Args:
            wanted: what had to be opened, ascending.
            data: the bytes of each stretch.
            path: sibling hashes, bundle by bundle, joined.

        Raises:
            ProofError: PATH_LENGTH.
        """
        nodes = split_hashes(path)
        supply, roots = iter(nodes), {}
        opened: dict[int, dict[int, bytes]] = {}
        pairs = zip(wanted, data, strict=True)
        for tensor, group in groupby(pairs, key=lambda pair: pair[0].tensor):
            leaves, hashes = zip(*leaf_hashes(self.key(tensor), self.spec(tensor), group), strict=True)
            places = self.bundles.of(tensor).places(tensor, leaves)
            found = opened.setdefault(self.bundles.home[tensor], {})
            found.update(zip(places, hashes, strict=True))
        try:
            for number in sorted(opened):
                count = self.bundles.all[number].leaves
                roots[number] = merkle.fold(count, sorted(opened[number].items()), supply, join_rows)
            fits = next(supply, None) is None
        except merkle.MissingNode:
            fits = False
        if not fits:
            raise ProofError(
                ProofReason.PATH_LENGTH, f"{len(nodes)} nodes do not climb the row trees of {self.where}"
            )
        return roots


def leaf_hashes(
    key: bytes, spec: TensorSpec, opened: Iterable[tuple[Stretch, bytes]]
) -> Iterator[tuple[int, bytes]]:
    """Opened leaves of one tensor with their hashes, ascending.

    Args:
        key: of the tensor's leaves.
        spec: its shape and type.
        opened: stretches of leaves with their bytes, ascending.
    """
    parts, size = spec.leaves_per_row, spec.part_bytes
    last = spec.rows_per_leaf * spec.row_bytes - (parts - 1) * size
    for stretch, data in opened:
        start = 0
        for leaf in stretch.leaves:
            # The last leaf of a tensor may be shorter still; so are the data.
            end = start + (size if (leaf + 1) % parts else last)
            yield leaf, leaf_hash(key, data[start:end])
            start = end
