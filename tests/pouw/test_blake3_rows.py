"""The kernel of row trees against the wheel of BLAKE3, byte for byte."""

import numpy as np
import pytest
from blake3 import blake3
from numpy.typing import NDArray

pytest.importorskip("numba")
pytest.importorskip("hypothesis")

from hypothesis import example, given
from hypothesis import strategies as st

from pouw.arithmetic.generator import random_bytes
from pouw.kernels.blake3_rows import CHUNK, hash_leaves, hash_levels
from pouw.trees import merkle


def wheel_leaves(data: bytes, line: int, part: int, key: bytes) -> list[bytes]:
    """Leaf by leaf: lines, in parts, without trailing zeros."""
    lines = [data[start : start + line] for start in range(0, len(data), line)]
    parts = [whole[start : start + part] for whole in lines for start in range(0, len(whole), part)]
    return [blake3(leaf.rstrip(b"\0"), key=key).digest() for leaf in parts]


def wheel_levels(leaves: list[bytes], key: bytes) -> list[bytes]:
    """All nodes, leaves first."""
    tree = merkle.levels(leaves, lambda left, right: blake3(left + right, key=key).digest())
    return [node for level in tree for node in level]


def words(key: bytes) -> NDArray[np.uint32]:
    return np.frombuffer(key, np.uint32)


def compare(data: bytes, line: int, key: bytes, *, part: int = CHUNK, shift: int = 0) -> None:
    """Leaves in two calls that meet at `shift`, then all levels."""
    expected = wheel_levels(wheel_leaves(data, line, part, key), key)
    leaves = len(wheel_leaves(data, line, part, key))
    nodes = np.zeros((len(expected), 8), np.uint32)
    array = np.frombuffer(data, np.uint8)
    for start, stop in ((0, shift % (leaves + 1)), (shift % (leaves + 1), leaves)):
        hash_leaves(array, line, part, words(key), nodes, start, stop)
    hash_levels(nodes, leaves, words(key))
    assert [node.tobytes() for node in nodes] == expected


@st.composite
def tensors(draw: st.DrawFn) -> tuple[bytes, int]:
    """Lines of any length, with runs of zeros; the last one of short rows may be shorter."""
    line = draw(st.integers(1, 5000) | st.sampled_from([32, 63, 64, 65, 128, 1023, 1024, 1025, 2048]))
    rows = draw(st.integers(1, max(1, 40_000 // line)))
    size = rows * line - (draw(st.integers(0, line - 1)) if line <= 64 else 0)
    data = bytearray(random_bytes(b"tensor", path=(draw(st.integers(0, 9)),), count=size))
    for start, length in draw(
        st.lists(st.tuples(st.integers(0, size - 1), st.integers(1, 3000)), max_size=9)
    ):
        data[start : start + length] = bytes(len(data[start : start + length]))
    return bytes(data), line


@given(
    tensors(),
    st.binary(min_size=32, max_size=32),
    st.sampled_from([CHUNK, 128, 64]) | st.integers(1, CHUNK),
    st.integers(0, 1000),
)
@example((bytes(5000), 5000), bytes(32), CHUNK, 0)
@example((bytes(64 * 40), 64), bytes(32), 128, 3)
def test_every_leaf_and_node_is_the_wheels(
    case: tuple[bytes, int], key: bytes, part: int, shift: int
) -> None:
    compare(*case, key, part=part, shift=shift)


@pytest.mark.parametrize("size", [*range(1, 132), 1022, 1023, 1024])
def test_every_length_of_a_leaf(size: int) -> None:
    data = bytes([1 + i % 255 for i in range(size)])
    compare(data * 17, size, bytes(range(32)))


def test_lengths_that_differ_from_lane_to_lane() -> None:
    """A triangle, as attention weights are: every leaf ends elsewhere."""
    rows = [bytes([255] * i + [0] * (300 - i)) for i in range(301)]
    compare(b"".join(rows), 300, bytes(range(32)))
    compare(b"".join(reversed(rows)), 300, bytes(range(32)))


@pytest.mark.parametrize("leaves", [*range(1, 40), 255, 256, 257])
def test_every_shape_of_a_tree(leaves: int) -> None:
    compare(random_bytes(b"shape", path=(), count=64 * leaves), 64, bytes(range(32)))
