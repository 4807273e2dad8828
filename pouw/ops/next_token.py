"""`token_gradient`, `token_loss`: how far a model is from the text that it read."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pouw.arithmetic.transformer_training_rows import ERROR_LIMIT, token_gradient_rows, token_loss_rows
from pouw.backends.backend import Backend
from pouw.hashing import framed, u32
from pouw.ops.kind import Bounded, Expected, Need
from pouw.ops.loss_gradient import MAX_CLASSES
from pouw.ops.require import require, require_count, require_dtype, require_spec
from pouw.program_error import ProgramReason
from pouw.tensors import Array, DType, TensorSpec


@dataclass(frozen=True, slots=True)
class TokenGradient:
    """out[i] = softmax(logits[i]) less one at the token that follows, at scale SHARE; 0 at a text's end.

    Operands: logits int16 [sequences * length, n] at scale LOGIT; tokens [sequences * length, 1]. Output
    int16 [sequences * length, n]. A cell is a row; it opens the logits, and the next row of tokens.

    Args:
        length: of a text.
    """

    length: int

    def encode(self) -> bytes:
        """See `OpKind.encode`."""
        return framed(b"token_gradient", u32(self.length))

    def infer(self, operands: Sequence[Bounded]) -> Bounded:
        """See `OpKind.infer`."""
        spec = _require("token_gradient", operands, self.length)
        return Bounded(TensorSpec(spec.rows, spec.cols, DType.INT16), -ERROR_LIMIT, ERROR_LIMIT)

    def cost(self, operands: Sequence[TensorSpec]) -> int:
        """See `OpKind.cost`: two look-ups, a product and a division per logit."""
        return 4 * operands[0].cols

    def run(self, backend: Backend, operands: Sequence[Any]) -> Any:
        """See `OpKind.run`."""
        return backend.transformer_training.token_gradient(*operands, length=self.length)

    def needs(self, row: int, col: int) -> tuple[Need, ...]:  # noqa: ARG002 - the whole row
        """See `OpKind.needs`."""
        return _needs(row, self.length)

    def check(self, row: int, col: int, rows: Sequence[Array]) -> Expected:  # noqa: ARG002 - the whole row
        """See `OpKind.check`."""
        return Expected(0, token_gradient_rows(rows[0][None], _label(rows))[0])


@dataclass(frozen=True, slots=True)
class TokenLoss:
    """out[i] = -ln of the chance of the token that follows, in nats at scale NATS; 0 at a text's end.

    Operands as for `TokenGradient`. Output int32 [sequences * length, 1]. A cell is a row.

    Args:
        length: of a text.
    """

    length: int

    def encode(self) -> bytes:
        """See `OpKind.encode`."""
        return framed(b"token_loss", u32(self.length))

    def infer(self, operands: Sequence[Bounded]) -> Bounded:
        """See `OpKind.infer`."""
        spec = _require("token_loss", operands, self.length)
        return Bounded(TensorSpec(spec.rows, 1, DType.INT32), DType.INT32.low, DType.INT32.high)

    def cost(self, operands: Sequence[TensorSpec]) -> int:
        """See `OpKind.cost`: two look-ups and a product per logit."""
        return 3 * operands[0].cols

    def run(self, backend: Backend, operands: Sequence[Any]) -> Any:
        """See `OpKind.run`."""
        return backend.transformer_training.token_loss(*operands, length=self.length)

    def needs(self, row: int, col: int) -> tuple[Need, ...]:  # noqa: ARG002 - the whole row
        """See `OpKind.needs`."""
        return _needs(row, self.length)

    def check(self, row: int, col: int, rows: Sequence[Array]) -> Expected:  # noqa: ARG002 - the whole row
        """See `OpKind.check`."""
        return Expected(0, token_loss_rows(rows[0][None], _label(rows))[0])


def _require(kind: str, operands: Sequence[Bounded], length: int) -> TensorSpec:
    require_count(kind, operands, 2)
    logits = operands[0].spec
    require_dtype(f"{kind}'s logits", logits, DType.INT16)
    require_spec(f"{kind}'s tokens", operands[1], logits.rows, 1, DType.INT8, DType.INT16, DType.INT32)
    require(
        length >= 2 and logits.rows % length == 0,
        ProgramReason.SHAPE,
        f"{kind} of {logits.rows} rows in texts of {length}",
    )
    require(
        logits.cols <= MAX_CLASSES,
        ProgramReason.RANGE,
        f"{logits.cols} classes, exact up to {MAX_CLASSES}",
    )
    return logits


def _needs(row: int, length: int) -> tuple[Need, ...]:
    last = row % length == length - 1
    return (Need(0, row),) if last else (Need(0, row), Need(1, row + 1))


def _label(rows: Sequence[Array]) -> Array:
    return rows[1] if len(rows) > 1 else np.array([-1], np.int64)
