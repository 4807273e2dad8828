"""Shapes, leaves, and the row tree over them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pouw.opened_rows import split_hashes, values_of
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


@pytest.mark.parametrize(
    ("cols", "dtype", "leaves_per_row"),
    [(128, DType.INT8, 1), (129, DType.INT8, 2), (96, DType.INT32, 3), (97, DType.INT32, 1),
     (513, DType.INT8, 1), (1024, DType.INT8, 1), (1025, DType.INT8, 2), (513, DType.INT16, 2),
     (4096, DType.INT8, 4), (256, DType.INT64, 2)],
)  # fmt: skip
def test_long_rows_are_cut(cols: int, dtype: DType, leaves_per_row: int) -> None:
    spec = TensorSpec(3, cols, dtype)
    assert (spec.leaves_per_row, spec.leaves) == (leaves_per_row, 3 * leaves_per_row)
    assert [spec.leaf_of(1, col) for col in (0, cols - 1)] == [leaves_per_row, 2 * leaves_per_row - 1]


def check_openings(spec: TensorSpec, leaves: list[int]) -> None:
    """Some leaves of a tensor lead to its root, and hold its values."""
    array = int8s("rows", spec.rows, spec.row_bytes).view(spec.dtype.numpy)
    tree = RowTree(CONTEXT, 3, spec=spec, array=array)
    key = tensor_key(CONTEXT, 3, spec)
    opened = [(leaf, leaf_hash(key, tree.leaf(leaf))) for leaf in leaves]
    assert root_from(spec, opened, split_hashes(tree.path(leaves))) == tree.root
    for leaf in leaves:
        assert len(tree.leaf(leaf)) == len(spec.leaf_bytes(leaf))
        for row in spec.leaf_rows(leaf):
            assert leaf in spec.leaves_of(row)
            assert np.array_equal(values_of(spec, tree.leaf, row, cols=range(spec.cols)), array[row])


@given(st.integers(1, 40), st.integers(1, 70), st.data())
def test_opened_rows_lead_to_the_root(rows: int, cols: int, data: st.DataObject) -> None:
    spec = TensorSpec(rows, cols, DType.INT8)
    check_openings(spec, sorted(data.draw(st.sets(st.integers(0, spec.leaves - 1), min_size=1))))


@given(st.integers(1, 5), st.integers(1, 5000), st.sampled_from(DType), st.data())
def test_opened_parts_lead_to_the_root(rows: int, cols: int, dtype: DType, data: st.DataObject) -> None:
    spec = TensorSpec(rows, cols, dtype)
    check_openings(spec, sorted(data.draw(st.sets(st.integers(0, spec.leaves - 1), min_size=1))))
    row, start = data.draw(st.integers(0, rows - 1)), data.draw(st.integers(0, cols - 1))
    part = range(start, data.draw(st.integers(start + 1, cols)))
    array = int8s("part", rows, spec.row_bytes).view(dtype.numpy)
    tree = RowTree(CONTEXT, 3, spec=spec, array=array)
    asked: list[int] = []

    def leaf(number: int) -> bytes:
        asked.append(number)
        return tree.leaf(number)

    assert np.array_equal(values_of(spec, leaf, row, cols=part), array[row, part.start : part.stop])
    assert asked == list(range(spec.leaf_of(row, part.start), spec.leaf_of(row, part.stop - 1) + 1))


def test_leaves_tile_a_tensor() -> None:
    for cols in (1, 3, 64, 65, 1024, 1025, 2500):
        spec = TensorSpec(37, cols, DType.INT8)
        places = [spec.leaf_bytes(leaf) for leaf in range(spec.leaves)]
        assert [byte for place in places for byte in place] == list(range(37 * cols))


def test_zeros_at_the_end_of_a_leaf_say_nothing() -> None:
    key = tensor_key(CONTEXT, 0, TensorSpec(1, 100, DType.INT8))
    assert leaf_hash(key, b"ab" + bytes(98)) == leaf_hash(key, b"ab")
    assert leaf_hash(key, bytes(100)) == leaf_hash(key, b"")
    assert leaf_hash(key, b"\0ab") != leaf_hash(key, b"ab\0")


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
    assert join_rows(left, right) not in {leaf_hash(key, left + right) for key in keys}


def test_root_vector() -> None:
    spec = TensorSpec(5, 40, DType.INT8)
    array = np.arange(200).reshape(5, 40).astype(np.int8)
    root = RowTree(CONTEXT, 2, spec=spec, array=array).root
    assert root.hex() == "92597561e4ddc7be743a2caaa51a385526d240779c536ff16263619bd5ab2f38"
