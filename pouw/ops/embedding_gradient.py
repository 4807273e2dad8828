"""`embedding_gradient`: the errors of all places at which a token stood, added up."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pouw.backends.backend import Backend
from pouw.hashing import framed, i64, u32
from pouw.ops.kind import Bounded, Expected, Need
from pouw.ops.matmul import MAX_DEPTH
from pouw.ops.require import require, require_constant, require_count, require_dtype, require_spec
from pouw.program_error import ProgramReason
from pouw.tensors import Array, DType, TensorSpec


@dataclass(frozen=True, slots=True)
class EmbeddingGradient:
    """out[v,c] = clamp(sum of E[c,i] over all i with token[i] = v), int32.

    Operands: tokens [m,1] and errors E int16 [d,m], one row per channel. Output [rows,d]. A cell is one
    element; it opens one row of errors and all tokens, which are the input and so known to every checker.

    Args:
        rows: of the embedding.
        tokens: m.
        limit: results lie in -limit..limit.
    """

    rows: int
    tokens: int
    limit: int

    def encode(self) -> bytes:
        """See `OpKind.encode`."""
        return framed(b"embedding_gradient", u32(self.rows) + u32(self.tokens) + i64(self.limit))

    def infer(self, operands: Sequence[Bounded]) -> Bounded:
        """See `OpKind.infer`."""
        require_count("embedding_gradient", operands, 2)
        tokens, errors = operands
        require_spec("its tokens", tokens, self.tokens, 1, DType.INT8, DType.INT16, DType.INT32)
        require_dtype("its errors", errors.spec, DType.INT16)
        require_constant("embedding_gradient to a limit of", self.limit, 1, DType.INT32.high)
        require(
            errors.spec.cols == self.tokens,
            ProgramReason.SHAPE,
            f"errors of {errors.spec.cols} places for {self.tokens} tokens",
        )
        require(
            self.tokens <= MAX_DEPTH, ProgramReason.RANGE, f"sums of {self.tokens}, exact up to {MAX_DEPTH}"
        )
        return Bounded(TensorSpec(self.rows, errors.spec.rows, DType.INT32), -self.limit, self.limit)

    def cost(self, operands: Sequence[TensorSpec]) -> int:
        """See `OpKind.cost`: one unit per error, spread over the rows."""
        return max(1, operands[1].rows * self.tokens // self.rows)

    def run(self, backend: Backend, operands: Sequence[Any]) -> Any:
        """See `OpKind.run`."""
        return backend.transformer_training.embedding_gradient(*operands, rows=self.rows, limit=self.limit)

    def needs(self, row: int, col: int) -> tuple[Need, ...]:  # noqa: ARG002 - every row reads all tokens
        """See `OpKind.needs`."""
        return (Need(1, col), *(Need(0, place) for place in range(self.tokens)))

    def check(self, row: int, col: int, rows: Sequence[Array]) -> Expected:
        """See `OpKind.check`."""
        hits = np.concatenate(rows[1:]).astype(np.int64) == row
        total = int(rows[0].astype(np.int64)[hits].sum())
        return Expected(col, np.array([min(max(total, -self.limit), self.limit)], np.int32))
