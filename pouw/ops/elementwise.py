"""What ops share whose output follows from the same place of each operand."""

from collections.abc import Sequence
from typing import Final

from pouw.ops.kind import Bounded, Need
from pouw.program_error import ProgramError, ProgramReason
from pouw.tensors import DType, TensorSpec

BLOCK: Final = 32
"""Columns of a cell, where every value follows from a few others: 128 bytes of int32, about a leaf."""


def block_of(col: int) -> range:
    """The columns of the block in which one lies; the last one of a row may end before."""
    first = col - col % BLOCK
    return range(first, first + BLOCK)


def same_block(row: int, col: int, *, operands: int) -> tuple[Need, ...]:
    """The block of (row, col) in every operand."""
    return tuple(Need(operand, row, cols=block_of(col)) for operand in range(operands))


def same_rows(row: int, *, operands: int) -> tuple[Need, ...]:
    """Row `row` of every operand."""
    return tuple(Need(operand, row) for operand in range(operands))


def check_count(name: str, operands: Sequence[object], *, count: int) -> None:
    """Refuse another number of operands.

    Raises:
        ProgramError: SHAPE.
    """
    if len(operands) != count:
        raise ProgramError(ProgramReason.SHAPE, f"{name} of {len(operands)} operands, it takes {count}")


def check_alike(name: str, operands: Sequence[Bounded], *, dtype: DType) -> TensorSpec:
    """The one shape of all operands.

    Raises:
        ProgramError: SHAPE if they differ; DTYPE if one has another type.
    """
    first = operands[0].spec
    for operand in operands:
        if operand.spec.dtype != dtype:
            raise ProgramError(
                ProgramReason.DTYPE, f"{name} of {operand.spec.dtype.name}, it takes {dtype.name}"
            )
        if operand.spec != first:
            raise ProgramError(ProgramReason.SHAPE, f"{name} of {first} and {operand.spec}")
    return first


def check_int32(name: str, low: int, high: int) -> None:
    """Refuse values on the way that int32 cannot hold.

    Raises:
        ProgramError: RANGE.
    """
    if low < DType.INT32.low or high > DType.INT32.high:
        raise ProgramError(ProgramReason.RANGE, f"{name} reaches {low}..{high}, beyond int32")


def check_constant(name: str, value: int, *, low: int, high: int) -> None:
    """Refuse a constant outside its bounds.

    Raises:
        ProgramError: CONSTANT.
    """
    if not low <= value <= high:
        raise ProgramError(ProgramReason.CONSTANT, f"{name} {value}, allowed are {low}..{high}")
