"""Row trees of tensors on a GPU, made there: what leaves it are roots, and what a proof opens.

The kernels run on a stream of their own, so a tensor is hashed while the next ops compute.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from pouw.backends.triton_blake3 import LANES, STEPS, climb, leaves
from pouw.backends.triton_kernel import launch
from pouw.hashing import HASH_BYTES
from pouw.tensors import Array, TensorSpec
from pouw.trees.bulk_rows import level_sizes
from pouw.trees.rows import NODE, Nodes, Rows, Tree

_WORDS: Final = HASH_BYTES // 4
_GRAIN: Final = 16
"""Bytes of a thread's load: where leaves start anew."""

_ALONE: Final = {"lanes": LANES, "num_warps": LANES // 32, "num_stages": 1}
"""A thread for every lane; and no load ahead of its turn, since levels read what the ones below wrote."""


class CudaRows:
    """A `RowHashing`.

    Args:
        device: where tensors lie; the host, with Triton's interpreter, in tests.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream: torch.cuda.Stream | None = None
        if device.type == "cuda":
            self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def tree(self, key: bytes, spec: TensorSpec, tensor: torch.Tensor) -> "PlacedTree":
        """See `RowHashing.tree`."""
        with self._beside(tensor):
            data = _bytes_of(tensor)
            nodes = self._room(sum(level_sizes(spec.leaves)))
            _hash_leaves(key, spec, data, nodes)
            grown = self._grown(nodes, spec.leaves)
        return PlacedTree(spec, data, grown)

    def leaves(self, key: bytes, spec: TensorSpec, tensor: torch.Tensor) -> "PlacedLeaves":
        """See `RowHashing.leaves`."""
        with self._beside(tensor):
            data = _bytes_of(tensor)
            nodes = self._room(spec.leaves)
            _hash_leaves(key, spec, data, nodes)
            arrival = _Arrival(nodes[-1], self._stream)
        return PlacedLeaves(spec, data, nodes, arrival)

    def shared(self, members: Sequence["PlacedLeaves"], *, parts: Sequence[int], lines: int) -> "PlacedNodes":
        """See `RowHashing.shared`."""
        leaves = lines * sum(parts)
        with self._beside():
            nodes = self._room(sum(level_sizes(leaves)))
            wide = [own.hashes.view(lines, n * _WORDS) for own, n in zip(members, parts, strict=True)]
            nodes[:leaves] = torch.cat(wide, dim=1).view(leaves, _WORDS)
            return self._grown(nodes, leaves)

    def _room(self, nodes: int) -> torch.Tensor:
        return torch.empty((nodes, _WORDS), dtype=torch.int32, device=self._device)

    def _grown(self, nodes: torch.Tensor, leaves: int) -> "PlacedNodes":
        """All levels over leaves that are hashed."""
        _hash_levels(level_sizes(leaves), nodes)
        return PlacedNodes(leaves, nodes, _Arrival(nodes[-1], self._stream))

    @contextmanager
    def _beside(self, *tensors: torch.Tensor) -> Iterator[None]:
        """On the stream for hashing, after what has been ordered so far; of what is read there."""
        if self._stream is None:
            yield
            return
        self._stream.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(self._stream):
            yield
        # The memory must not go to another tensor before it was hashed, whoever lets go of it when.
        for tensor in tensors:
            tensor.record_stream(self._stream)


class PlacedNodes(Nodes):
    """Nodes on a device.

    Args:
        leaves: how many the tree has.
        nodes: int32 [nodes of all levels, 8], leaves first.
        root: the last of them, on its way to the host.
    """

    def __init__(self, leaves: int, nodes: torch.Tensor, root: "_Arrival") -> None:
        super().__init__(leaves)
        self._nodes = nodes
        self._root = root

    @property
    def root(self) -> bytes:
        """See `Nodes.root`; waits for it."""
        return self._root.wait()

    @property
    def size(self) -> int:
        """See `Nodes.size`."""
        return len(self._nodes) * HASH_BYTES

    def read(self, places: Iterable[tuple[int, int]]) -> bytes:
        """See `Nodes.read`; one transfer for all of them."""
        self._root.wait()
        starts = np.cumsum([0, *level_sizes(self.leaves)])
        numbers = torch.tensor([int(starts[level]) + index for level, index in places], dtype=torch.int64)
        return self._nodes[numbers.to(self._nodes.device)].cpu().numpy().tobytes()


class PlacedLeaves(Rows):
    """A tensor on a device, with the hashes of its leaves there.

    Args:
        spec: its shape and type.
        data: its bytes, uint8 1-D.
        hashes: int32 [leaves, 8].
        hashed: the last of them, on its way to the host.
    """

    def __init__(
        self, spec: TensorSpec, data: torch.Tensor, hashes: torch.Tensor, hashed: "_Arrival"
    ) -> None:
        self.spec = spec
        self.hashes = hashes
        self._data = data
        self._hashed = hashed

    def read(self, place: range) -> bytes:
        """See `Rows.read`."""
        self._hashed.wait()
        return self._data[place.start : place.stop].cpu().numpy().tobytes()


class PlacedTree(Tree):
    """A tensor on a device, with its tree there.

    Args:
        spec: its shape and type.
        data: its bytes, uint8 1-D.
        nodes: its tree.
    """

    def __init__(self, spec: TensorSpec, data: torch.Tensor, nodes: PlacedNodes) -> None:
        self.spec = spec
        self.nodes = nodes
        self._data: torch.Tensor | NDArray[np.uint8] = data

    def over(self, array: Array) -> "PlacedTree":
        """See `Tree.over`."""
        tree = copy(self)
        tree._data = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        return tree

    def read(self, place: range) -> bytes:
        """See `Rows.read`."""
        _ = self.nodes.root  # what was ordered before it is done
        piece = self._data[place.start : place.stop]
        return (piece if isinstance(piece, np.ndarray) else piece.cpu().numpy()).tobytes()


class _Arrival:
    """A few numbers on their way to the host.

    Args:
        there: where they lie.
        stream: on which they are made; None if they are there.
    """

    def __init__(self, there: torch.Tensor, stream: torch.cuda.Stream | None) -> None:
        self._done: torch.cuda.Event | None = None
        if stream is None:
            self._here = there.clone()
            return
        self._here = torch.empty(there.shape, dtype=there.dtype, pin_memory=True)
        self._here.copy_(there, non_blocking=True)
        self._done = torch.cuda.Event()  # type: ignore[no-untyped-call]
        self._done.record(stream)

    def wait(self) -> bytes:
        """Their bytes, once they are here; then everything before them is done, too."""
        if self._done is not None:
            self._done.synchronize()
        return self._here.numpy().tobytes()


def _bytes_of(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.contiguous().view(-1).view(torch.uint8)


def _hash_leaves(key: bytes, spec: TensorSpec, data: torch.Tensor, nodes: torch.Tensor) -> None:
    line = spec.rows_per_leaf * spec.row_bytes
    if line % _GRAIN or data.numel() % _GRAIN or data.data_ptr() % _GRAIN:
        data = _in_whole_grains(data, line, lines=spec.leaves // spec.leaves_per_row)
        line += -line % _GRAIN
    launch(
        leaves, -(-spec.leaves // LANES), data.view(torch.int32), nodes, data.numel(), line, spec.part_bytes,
        spec.leaves_per_row, spec.leaves, *_words(key), **_ALONE,
    )  # fmt: skip


def _in_whole_grains(data: torch.Tensor, line: int, *, lines: int) -> torch.Tensor:
    """A copy whose lines are filled up with zeros, which no hash notices at the end of a leaf."""
    whole = torch.zeros((lines, line + -line % _GRAIN), dtype=torch.uint8, device=data.device)
    full, rest = divmod(data.numel(), line)
    whole[:full, :line] = data[: full * line].view(full, line)
    if rest:
        whole[full, :rest] = data[full * line :]
    return whole.view(-1)


def _hash_levels(sizes: Sequence[int], nodes: torch.Tensor) -> None:
    below = 0
    for level in range(0, len(sizes) - 1, STEPS):
        steps = min(STEPS, len(sizes) - 1 - level)
        programs = -(-sizes[level] // (2 * LANES))
        launch(climb, programs, nodes, below, sizes[level], steps, *_words(NODE), **_ALONE)
        below += sum(sizes[level : level + steps])


def _words(key: bytes) -> list[int]:
    return [int(word) for word in np.frombuffer(key, "<i4")]
