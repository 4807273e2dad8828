"""What the backward ops of attention ask of their heads."""

from collections.abc import Sequence

from pouw.arithmetic.heads import Heads
from pouw.ops.kind import Bounded
from pouw.ops.matmul import MAX_DEPTH
from pouw.ops.require import require, require_count, require_spec
from pouw.program_error import ProgramReason
from pouw.tensors import DType


def require_square(kind: str, heads: Heads) -> None:
    """Refuse heads with a past, heads that share keys, and texts that are too long.

    Raises:
        ProgramError: SHAPE, RANGE.
    """
    require(
        not heads.past and heads.keys == heads.queries,
        ProgramReason.SHAPE,
        f"{kind} of {heads}, it takes whole texts and as many heads of keys as of queries",
    )
    require(
        heads.tokens <= MAX_DEPTH, ProgramReason.RANGE, f"sums of {heads.tokens}, exact up to {MAX_DEPTH}"
    )


def require_scores(what: str, operand: Bounded, heads: Heads, *dtypes: DType) -> None:
    """Refuse what is not one row per query of every head, one column per key.

    Raises:
        ProgramError: SHAPE, DTYPE.
    """
    require_spec(what, operand, heads.sequences * heads.queries * heads.tokens, heads.tokens, *dtypes)


def require_operands(kind: str, operands: Sequence[Bounded], heads: Heads, *, count: int) -> None:
    """Refuse another number of operands, or other heads.

    Raises:
        ProgramError: SHAPE, RANGE.
    """
    require_count(kind, operands, count)
    require_square(kind, heads)
