"""Shapes, leaves, and the row tree over them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pouw.program_error import ProgramError, ProgramReason
from pouw.proofs.opened_rows import Leaves, leaf_hashes, split_hashes
from pouw.proofs.openings import Stretch, stretches
from pouw.tensors import MAX_COLS, MAX_ROWS, DType, TensorSpec, index_dtype
from pouw.trees.merkle import fold
from pouw.trees.rows import RowTree, join_rows, leaf_hash, tensor_key
from tests.pouw.world import int8s

CONTEXT = bytes(32)


@pytest.mark.parametrize(("rows", "cols"), [(0, 1), (1, 0), (-1, 5), (MAX_ROWS + 1, 1), (1, MAX_COLS + 1)])
def test_impossible_shapes(rows: int, cols: int) -> None:
    with pytest.raises(ProgramError) as caught:
        TensorSpec(rows, cols, DType.INT8)
    assert caught.value.reason is ProgramReason.SHAPE


@pytest.mark.parametrize(
    ("rows", "cols", "dtype", "rows_per_leaf", "part_bytes"),
    [(100, 1, DType.INT8, 64, 64), (100, 1, DType.INT32, 16, 64), (100, 10, DType.INT32, 1, 64),
     (100, 3, DType.INT8, 16, 64), (100, 32, DType.INT8, 2, 64), (100, 64, DType.INT8, 1, 64),
     (64, 128, DType.INT16, 1, 64), (352, 128, DType.INT8, 1, 128), (255, 128, DType.INT8, 1, 64),
     (256, 128, DType.INT8, 1, 128), (1024, 128, DType.INT8, 2, 256), (16384, 128, DType.INT8, 8, 1024),
     (65536, 128, DType.INT8, 8, 1024), (2048, 4096, DType.INT8, 1, 1024), (1, 1, DType.INT8, 64, 64)],
)  # fmt: skip
def test_leaves_grow_with_the_root_of_a_tensor(
    rows: int, cols: int, dtype: DType, rows_per_leaf: int, part_bytes: int
) -> None:
    spec = TensorSpec(rows, cols, dtype)
    assert (spec.rows_per_leaf, spec.part_bytes) == (rows_per_leaf, part_bytes)


@given(st.integers(1, 1 << 31), st.integers(1, 1 << 20), st.sampled_from(DType))
def test_a_leaf_squared_is_at_most_half_of_its_tensor(rows: int, cols: int, dtype: DType) -> None:
    spec = TensorSpec(rows, cols, dtype)
    total = rows * spec.row_bytes
    assert spec.part_bytes in (64, 128, 256, 512, 1024)
    assert spec.part_bytes == 64 or 2 * spec.part_bytes**2 <= total
    assert spec.part_bytes == 1024 or 8 * spec.part_bytes**2 > total
    assert spec.rows_per_leaf == 1 or spec.rows_per_leaf * spec.row_bytes <= spec.part_bytes
    assert spec.leaves_per_row == 1 or spec.rows_per_leaf == 1


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
    [(64, DType.INT8, 1), (65, DType.INT8, 2), (96, DType.INT32, 6), (1024, DType.INT8, 16),
     (1025, DType.INT8, 17), (4096, DType.INT8, 64), (256, DType.INT64, 32), (10000, DType.INT8, 157)],
)  # fmt: skip
def test_long_rows_are_cut(cols: int, dtype: DType, leaves_per_row: int) -> None:
    spec = TensorSpec(min(3, 32768 // cols), cols, dtype)
    assert (spec.leaves_per_row, spec.leaves) == (leaves_per_row, spec.rows * leaves_per_row)
    if spec.rows > 1:
        ends = [leaves_per_row, 2 * leaves_per_row - 1]
        assert [spec.leaf_of(1, col) for col in (0, cols - 1)] == ends


def check_openings(spec: TensorSpec, leaves: list[int]) -> None:
    """Some leaves of a tensor lead to its root, and hold its values."""
    array = int8s("rows", spec.rows, spec.row_bytes).view(spec.dtype.numpy)
    tree = RowTree(CONTEXT, 3, spec=spec, array=array)
    key = tensor_key(CONTEXT, 3, spec)
    wanted = stretches((7, leaf) for leaf in leaves)
    assert [leaf for stretch in wanted for leaf in stretch.leaves] == leaves
    data = [tree.read(stretch.bytes_of(spec)) for stretch in wanted]
    hashes = list(leaf_hashes(key, spec, zip(wanted, data, strict=True)))
    assert hashes == [(leaf, leaf_hash(key, tree.read(spec.leaf_bytes(leaf)))) for leaf in leaves]
    nodes = split_hashes(tree.nodes.path(leaves))
    assert fold(spec.leaves, hashes, nodes, join_rows) == tree.root
    held = Leaves(lambda _: spec, wanted, data)
    for leaf in leaves:
        for row in spec.leaf_rows(leaf):
            assert leaf in spec.leaves_of(row)
            if set(spec.leaves_of(row)) <= set(leaves):
                assert np.array_equal(held.rows(7, range(row, row + 1)), array[row : row + 1])


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
    leaves = range(spec.leaf_of(row, part.start), spec.leaf_of(row, part.stop - 1) + 1)
    opened = Stretch(2, leaves)
    held = Leaves(lambda _: spec, [opened], [tree.read(opened.bytes_of(spec))])
    assert np.array_equal(held.values(2, row, part), array[row, part.start : part.stop])


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
