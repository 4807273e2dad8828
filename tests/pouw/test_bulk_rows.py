"""Trees made in bulk are the trees that are made one hash at a time."""

import numpy as np
import pytest

from pouw.arithmetic.generator import random_bytes
from pouw.tensors import DType, TensorSpec
from pouw.trees.bulk_rows import FEW_LEAVES, LARGE_BYTES, MANY_LEAVES, BulkHasher, hash_in_bulk
from pouw.trees.rows import RowTree, hash_one_by_one, tensor_key
from tests.pouw.world import int8s

KEY = tensor_key(bytes(32), 0, TensorSpec(1, 1, DType.INT8))


def refuse() -> object:
    raise ImportError("no kernel on this machine")


def test_without_a_kernel_rows_are_hashed_one_by_one() -> None:
    hasher = BulkHasher(refuse)  # type: ignore[arg-type]
    spec = TensorSpec(300, 1024, DType.INT8)
    data = int8s("bulk", 300, 1024).reshape(-1).view(np.uint8)
    assert data.size >= LARGE_BYTES
    for _ in range(2):
        assert hasher(KEY, spec, data) == hash_one_by_one(KEY, spec, data)


def test_the_kernel_is_loaded_when_it_pays() -> None:
    """By one large tensor, or by many small ones; never for a few, nor for tensors of a few leaves."""
    loaded = []
    used = []

    def leaves(
        data: object, line: int, part: int, key: object, nodes: np.ndarray, start: int, stop: int
    ) -> None:
        used.append(stop)

    def load() -> tuple[object, object]:
        loaded.append(True)
        return leaves, lambda *_: None

    small, wide = TensorSpec(64, 64, DType.INT8), TensorSpec(FEW_LEAVES - 1, 64, DType.INT8)
    data = np.zeros(64 * 64, np.uint8)
    hasher = BulkHasher(load)  # type: ignore[arg-type]
    assert data.size < LARGE_BYTES
    for _ in range(3):
        hasher(KEY, small, data)
    assert not loaded
    hasher._leaves = MANY_LEAVES - 64  # as if it had hashed them
    hasher(KEY, small, data)
    hasher(KEY, wide, data[: wide.rows * 64])
    assert (loaded, used) == ([True], [64])
    at_once = BulkHasher(load)  # type: ignore[arg-type]
    at_once(KEY, TensorSpec(LARGE_BYTES // 64, 64, DType.INT8), np.zeros(LARGE_BYTES, np.uint8))
    assert len(loaded) == 2


@pytest.mark.parametrize("cols", [1, 40, 64, 100, 1000, 1024, 1500, 4096])
@pytest.mark.parametrize("rows", [1, 15, 17, 100])
def test_the_kernel_gives_the_same_trees(rows: int, cols: int) -> None:
    """Where numba is missing both sides go one by one, and the test says nothing."""
    spec = TensorSpec(rows, cols, DType.INT16)
    whole = np.frombuffer(random_bytes(b"bulk", path=(rows, cols), count=rows * cols * 2), "<i2")
    array = np.tril(whole.reshape(rows, cols), k=cols // 2)
    trees = [
        RowTree(bytes(32), 1, spec=spec, array=array, hasher=how) for how in (hash_in_bulk, hash_one_by_one)
    ]
    assert trees[0].root == trees[1].root
    for leaves in ([0], list(range(spec.leaves))):
        assert trees[0].nodes.path(leaves) == trees[1].nodes.path(leaves)


def test_a_tensor_that_does_not_lie_in_one_piece() -> None:
    spec = TensorSpec(40, 30, DType.INT8)
    array = int8s("strided", 40, 60)[:, ::2]
    roots = {
        RowTree(bytes(32), 1, spec=spec, array=form, hasher=how).root
        for form in (array, array.copy())
        for how in (hash_in_bulk, hash_one_by_one)
    }
    assert len(roots) == 1
