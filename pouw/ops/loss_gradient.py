"""`loss_gradient`: where the error of a classification comes from, by softmax and cross-entropy."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from pouw.arithmetic.cross_entropy import LOGIT, PROBABILITY
from pouw.backends.backend import Backend
from pouw.backends.reference_training import ReferenceTraining
from pouw.hashing import framed, u32
from pouw.ops.elementwise import check_constant, check_count, same_rows
from pouw.ops.kind import Bounded, Expected, Need
from pouw.program_error import ProgramError, ProgramReason
from pouw.tensors import MAX_COLS, Array, DType, TensorSpec

_MAX_SCALE: Final = 30

MAX_CLASSES: Final = 1 << 17
"""The sum of powers, 2^30 each, stays below 2^47."""

_COST: Final = 4
"""Units of a logit: two look-ups, a product and a division."""


@dataclass(frozen=True, slots=True)
class LossGradient:
    """out[i] = softmax(A[i]) less one at column labels[i], see `pouw.arithmetic.cross_entropy`.

    Operands: logits A int32 [m,n]; labels int8 [m, more than label]. Output int16 [m,n]. A cell is the whole
    row.

    Args:
        label: the column of the second operand that holds the labels.
        scale: of the logits, 10..30.

    Raises:
        ProgramError: CONSTANT.
    """

    label: int = 0
    scale: int = LOGIT

    def __post_init__(self) -> None:
        check_constant("column of labels", self.label, low=0, high=MAX_COLS - 1)
        check_constant("scale", self.scale, low=LOGIT, high=_MAX_SCALE)

    def encode(self) -> bytes:
        """See `OpKind.encode`."""
        return framed(b"loss_gradient", u32(self.label) + u32(self.scale))

    def infer(self, operands: Sequence[Bounded]) -> Bounded:
        """See `OpKind.infer`."""
        check_count("loss_gradient", operands, count=2)
        logits, labels = (operand.spec for operand in operands)
        if (logits.dtype, labels.dtype) != (DType.INT32, DType.INT8):
            raise ProgramError(
                ProgramReason.DTYPE,
                f"loss_gradient of {logits.dtype.name} and {labels.dtype.name}, not INT32 and INT8",
            )
        if labels.rows != logits.rows or labels.cols <= self.label:
            raise ProgramError(ProgramReason.SHAPE, f"labels of {labels} in column {self.label} for {logits}")
        if logits.cols > MAX_CLASSES:
            raise ProgramError(ProgramReason.RANGE, f"{logits.cols} classes, exact up to {MAX_CLASSES}")
        one = 1 << PROBABILITY
        return Bounded(TensorSpec(logits.rows, logits.cols, DType.INT16), -one, one)

    def cost(self, operands: Sequence[TensorSpec]) -> int:
        """See `OpKind.cost`."""
        return _COST * operands[0].cols

    def run(self, backend: Backend, operands: Sequence[Any]) -> Any:
        """See `OpKind.run`."""
        return backend.training.loss_gradient(operands[0], operands[1], label=self.label, scale=self.scale)

    def needs(self, row: int, col: int) -> tuple[Need, ...]:  # noqa: ARG002 - the whole row
        """See `OpKind.needs`."""
        return same_rows(row, operands=2)

    def check(self, row: int, col: int, rows: Sequence[Array]) -> Expected:  # noqa: ARG002 - the whole row
        """See `OpKind.check`."""
        logits, labels = (values.reshape(1, -1) for values in rows)
        out = ReferenceTraining().loss_gradient(logits, labels, label=self.label, scale=self.scale)
        return Expected(0, out[0])
