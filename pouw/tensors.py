"""Shapes and types of the 2-D integer tensors that work is made of, and their division into leaves."""

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pouw.program_error import ProgramError, ProgramReason

Array = NDArray[np.signedinteger]
"""Any tensor of this package on the host: 2-D, C order, signed integers, little endian."""

MAX_ROWS: Final = 1 << 31
"""Row indices stay below 2^31, so that a path is never longer than 31 nodes."""

MAX_COLS: Final = 1 << 20
"""A row is at most 8 MiB: the most that one opened cell may carry of one tensor."""

LEAST_LEAF: Final = 64
"""A leaf holds at least so many bytes where its tensor does, two hashes' worth: below it a path costs more
than the rows it saves."""

LARGEST_LEAF: Final = 1024
"""And at most so many, one chunk of BLAKE3."""

FINE_LEAF: Final = 128
"""The most in a program whose cells read little of large tensors, as all cells of training do: a row of one
token, a stretch of 64 of them. To commit to half as much again is what that costs."""


class DType(IntEnum):
    """Element types; the numbers enter hashes and never change."""

    INT8 = 1
    INT16 = 2
    INT32 = 3
    INT64 = 4

    size: int
    """Bytes per element."""

    numpy: np.dtype[np.signedinteger]
    """The little-endian numpy type, which also is the form that is hashed."""

    def __new__(cls, value: int) -> "DType":
        """Fix what is asked for once per opened value: too often to be looked up each time."""
        member = int.__new__(cls, value)
        member._value_ = value
        member.size = 1 << (value - 1)
        member.numpy = np.dtype(f"<i{member.size}")
        return member

    @property
    def low(self) -> int:
        """The least value."""
        return -(1 << (8 * self.size - 1))

    @property
    def high(self) -> int:
        """The greatest value."""
        return (1 << (8 * self.size - 1)) - 1


def _leaf_size(size: int, largest: int) -> int:
    """The most bytes of a leaf, in a tensor of so many.

    It is the largest power of two, within the limits, whose square is at most half of them.
    """
    root = 1 << max(0, (size // 2).bit_length() - 1) // 2
    return min(largest, max(LEAST_LEAF, root))


def index_dtype(count: int) -> DType:
    """The smallest type that holds the numbers 0..count-1."""
    return next(dtype for dtype in DType if count - 1 <= dtype.high)


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """Shape and type of a tensor.

    Args:
        rows: 1..MAX_ROWS.
        cols: 1..MAX_COLS.
        dtype: of its elements.
        largest_leaf: bytes, a power of two from LEAST_LEAF to LARGEST_LEAF.

    Raises:
        ProgramError: SHAPE if there are more or fewer rows or columns.
    """

    rows: int
    cols: int
    dtype: DType
    largest_leaf: int = field(default=LARGEST_LEAF, repr=False)

    row_bytes: int = field(init=False, repr=False, compare=False)
    """Bytes of one row."""

    rows_per_leaf: int = field(init=False, repr=False, compare=False)
    """Neighbouring rows in one leaf: the largest power of two that fits, at least 1."""

    part_bytes: int = field(init=False, repr=False, compare=False)
    """The most that a leaf holds: a power of two that grows with the root of the tensor's size."""

    leaves_per_row: int = field(init=False, repr=False, compare=False)
    """Leaves that a row is cut into; 1 if rows share one."""

    leaves: int = field(init=False, repr=False, compare=False)
    """Number of leaves of the tensor's row tree."""

    def __post_init__(self) -> None:
        if not (1 <= self.rows <= MAX_ROWS and 1 <= self.cols <= MAX_COLS):
            raise ProgramError(
                ProgramReason.SHAPE,
                f"a tensor of {self.rows} x {self.cols}, allowed are 1..{MAX_ROWS} x 1..{MAX_COLS}",
            )
        row_bytes = self.cols * self.dtype.size
        part_bytes = _leaf_size(self.rows * row_bytes, self.largest_leaf)
        rows_per_leaf = 1 << max(0, (part_bytes // row_bytes).bit_length() - 1)
        leaves_per_row = -(-row_bytes // part_bytes)
        # Asked for once per opened value: too often to be worked out each time.
        for name, value in (
            ("row_bytes", row_bytes),
            ("rows_per_leaf", rows_per_leaf),
            ("part_bytes", part_bytes),
            ("leaves_per_row", leaves_per_row),
            ("leaves", -(-self.rows // rows_per_leaf) * leaves_per_row),
        ):
            object.__setattr__(self, name, value)

    def leaf_of(self, row: int, col: int) -> int:
        """The leaf that holds an element."""
        return row // self.rows_per_leaf * self.leaves_per_row + col * self.dtype.size // self.part_bytes

    def leaves_of(self, row: int) -> range:
        """The leaves that hold a row."""
        first = self.leaf_of(row, 0)
        return range(first, first + self.leaves_per_row)

    def leaves_over(self, rows: range) -> range:
        """The leaves that hold neighbouring rows, at least one."""
        return range(self.leaf_of(rows.start, 0), self.leaves_of(rows.stop - 1).stop)

    def leaf_rows(self, leaf: int) -> range:
        """The rows of which a leaf holds something; the last leaf may hold fewer than the others."""
        first = leaf // self.leaves_per_row * self.rows_per_leaf
        return range(first, min(first + self.rows_per_leaf, self.rows))

    def leaf_bytes(self, leaf: int) -> range:
        """Where a leaf lies in the tensor, bytes."""
        line, part = divmod(leaf, self.leaves_per_row)
        whole = self.rows_per_leaf * self.row_bytes
        first = line * whole + part * self.part_bytes
        return range(first, min(first + self.part_bytes, (line + 1) * whole, self.rows * self.row_bytes))

    def holds(self, array: object) -> bool:
        """Whether an object is an array of exactly this shape and type."""
        return (
            isinstance(array, np.ndarray)
            and array.shape == (self.rows, self.cols)
            and array.dtype == self.dtype.numpy
        )
