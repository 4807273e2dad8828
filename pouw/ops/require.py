"""What ops say when operands do not fit."""

from collections.abc import Sequence

from pouw.arithmetic.transformer_rows import ROOT_SUM_MAX
from pouw.ops.kind import Bounded
from pouw.ops.matmul import MAX_DEPTH
from pouw.program_error import ProgramError, ProgramReason
from pouw.tensors import DType, TensorSpec

MAX_CONSTANT_SHIFT = 62
MAX_CONSTANT_MULTIPLIER = (1 << 30) - 1


def require(holds: bool, reason: ProgramReason, message: str) -> None:
    """Refuse a program unless something holds.

    Raises:
        ProgramError: the reason given.
    """
    if not holds:
        raise ProgramError(reason, message)


def require_count(kind: str, operands: Sequence[object], count: int) -> None:
    """Refuse another number of operands.

    Raises:
        ProgramError: SHAPE.
    """
    require(
        len(operands) == count,
        ProgramReason.SHAPE,
        f"{kind} of {len(operands)} operands, it takes {count}",
    )


def require_spec(what: str, operand: Bounded, rows: int, cols: int, *dtypes: DType) -> None:
    """Refuse another shape or type.

    Raises:
        ProgramError: SHAPE, DTYPE.
    """
    spec = operand.spec
    require(
        (spec.rows, spec.cols) == (rows, cols),
        ProgramReason.SHAPE,
        f"{what} of {spec.rows} x {spec.cols}, it must be {rows} x {cols}",
    )
    require_dtype(what, spec, *dtypes)


def require_dtype(what: str, spec: TensorSpec, *dtypes: DType) -> None:
    """Refuse another type.

    Raises:
        ProgramError: DTYPE.
    """
    names = " or ".join(dtype.name for dtype in dtypes)
    require(spec.dtype in dtypes, ProgramReason.DTYPE, f"{what} of {spec.dtype.name}, it must be {names}")


def require_constant(what: str, value: int, low: int, high: int) -> None:
    """Refuse a constant outside its bounds.

    Raises:
        ProgramError: CONSTANT.
    """
    require(low <= value <= high, ProgramReason.CONSTANT, f"{what} {value}, allowed are {low}..{high}")


def require_wide(what: str, bound: int) -> None:
    """Refuse intermediate values that could leave int64.

    Args:
        what: names them.
        bound: none is larger in size.

    Raises:
        ProgramError: RANGE.
    """
    require(bound < 1 << 63, ProgramReason.RANGE, f"{what} reaches {bound}, beyond int64")


def require_product(kind: str, a: Bounded, b: Bounded) -> int:
    """Refuse operands that are no A[m,k] · B[n,k]ᵀ of int8, or too long to add up in int32.

    Returns:
        What no sum of products exceeds in size, whatever the order in which it is added up.

    Raises:
        ProgramError: SHAPE, DTYPE, RANGE.
    """
    require_dtype(f"{kind}'s A", a.spec, DType.INT8)
    require_dtype(f"{kind}'s B", b.spec, DType.INT8)
    depth = a.spec.cols
    require(depth == b.spec.cols, ProgramReason.SHAPE, f"{kind} of rows of {depth} and {b.spec.cols}")
    require(depth <= MAX_DEPTH, ProgramReason.RANGE, f"dot products of {depth}, exact up to {MAX_DEPTH}")
    return depth * size_of(a) * size_of(b)


def require_squares(count: int, size: int) -> None:
    """Refuse rows whose squares could add up to more than a norm's root takes.

    Args:
        count: values of a row.
        size: none is larger.

    Raises:
        ProgramError: RANGE.
    """
    squares = count * size**2
    require(
        squares <= ROOT_SUM_MAX,
        ProgramReason.RANGE,
        f"squares that add up to {squares}, exact up to {ROOT_SUM_MAX}",
    )


def size_of(operand: Bounded) -> int:
    """The largest size of any value."""
    return max(abs(operand.low), abs(operand.high))
