"""Shapes, leaves, and the row tree over them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pouw.opened_rows import leaf_size, row_of, split_hashes
from pouw.program_error import ProgramError, ProgramReason
from pouw.rows import RowTree, join_rows, leaf_hash, root_from, tensor_key
from pouw.tensors import MAX_COLS, MAX_ROWS, DType, TensorSpec, index_dtype
from tests.pouw.world import int8s

CONTEXT = bytes(32)


@pytest.mark.parametrize(("rows", "cols"), [(0, 1), (1, 0), (-1, 5), (MAX_ROWS + 1, 1), (1, MAX_COLS + 1)])
def test_impossible_shapes(rows: int, cols: int) -> None:
    with pytest.raises(ProgramError) as caught:
        TensorSpec(rows, cols, DType.INT8)
    assert caught.value.reason is ProgramReason.SHAPE


@pytest.mark.parametrize(
    ("cols", "dtype", "rows_per_leaf"),
    [(1, DType.INT8, 64), (1, DType.INT32, 16), (10, DType.INT32, 1), (3, DType.INT8, 16),
     (32, DType.INT8, 2), (33, DType.INT8, 1), (64, DType.INT8, 1), (4096, DType.INT8, 1),
     (8, DType.INT64, 1)],
)  # fmt: skip
def test_short_rows_share_a_leaf(cols: int, dtype: DType, rows_per_leaf: int) -> None:
    assert TensorSpec(100, cols, dtype).rows_per_leaf == rows_per_leaf


def test_types() -> None:
    assert [(d.size, d.low, d.high, d.numpy.str) for d in DType] == [
        (1, -128, 127, "|i1"), (2, -32768, 32767, "<i2"), (4, -(2**31), 2**31 - 1, "<i4"),
        (8, -(2**63), 2**63 - 1, "<i8"),
    ]  # fmt: skip
    assert [index_dtype(n) for n in (1, 128, 129, 32768, 32769)] == [
        DType.INT8, DType.INT8, DType.INT16, DType.INT16, DType.INT32,
    ]  # fmt: skip


def test_holds_wants_exactly_its_shape_and_type() -> None:
    spec = TensorSpec(2, 3, DType.INT16)
    assert spec.holds(np.zeros((2, 3), "<i2"))
    wrong = [
        np.zeros((3, 2), "<i2"),
        np.zeros((2, 3), "<u2"),
        np.zeros((2, 3), ">i2"),
        np.zeros(6, "<i2"),
        [[0]],
    ]
    assert not any(spec.holds(array) for array in wrong)


@given(st.integers(1, 40), st.integers(1, 70), st.data())
def test_opened_rows_lead_to_the_root(rows: int, cols: int, data: st.DataObject) -> None:
    spec = TensorSpec(rows, cols, DType.INT8)
    array = int8s("rows", rows, cols)
    tree = RowTree(CONTEXT, 3, spec=spec, array=array)
    leaves = sorted(data.draw(st.sets(st.integers(0, spec.leaves - 1), min_size=1)))
    key = tensor_key(CONTEXT, 3, spec)
    opened = [(leaf, leaf_hash(key, leaf, tree.leaf(leaf))) for leaf in leaves]
    assert root_from(spec, opened, split_hashes(tree.path(leaves))) == tree.root
    for leaf in leaves:
        assert len(tree.leaf(leaf)) == leaf_size(spec, leaf)
        for row in spec.leaf_rows(leaf):
            assert spec.leaf_of(row) == leaf
            assert np.array_equal(row_of(spec, tree.leaf(leaf), row), array[row])


def test_the_root_binds_context_place_shape_type_and_order() -> None:
    array = int8s("bind", 8, 8)

    def root(array: np.ndarray, context: bytes = CONTEXT, index: int = 0, dtype: DType = DType.INT8) -> bytes:
        return RowTree(context, index, spec=TensorSpec(*array.shape, dtype), array=array).root

    roots = [
        root(array), root(array, context=b"\1" + bytes(31)), root(array, index=1), root(array.reshape(4, 16)),
        root(array.reshape(16, 4)), root(array[::-1]), root(array.view("<i2"), dtype=DType.INT16),
        root(np.concatenate([array, array[-1:]])),
    ]  # fmt: skip
    assert len(set(roots)) == len(roots)


def test_an_inner_node_is_no_leaf() -> None:
    """A row as long as two hashes cannot be read as a node, nor a node as a row."""
    left, right = b"\1" * 32, b"\2" * 32
    keys = [tensor_key(CONTEXT, 0, TensorSpec(4, cols, DType.INT8)) for cols in (56, 64)]
    assert join_rows(left, right) not in {
        leaf_hash(key, leaf, left + right) for key in keys for leaf in range(4)
    }


def test_root_vector() -> None:
    spec = TensorSpec(5, 40, DType.INT8)
    array = np.arange(200).reshape(5, 40).astype(np.int8)
    root = RowTree(CONTEXT, 2, spec=spec, array=array).root
    assert root.hex() == "34c375cb7812025295030efe2f46c1ef9979bb48003bce5798113e13d137f95a"
