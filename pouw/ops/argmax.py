"""`argmax`: the column of each row's greatest value, the first of equals."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pouw.backends.backend import Backend
from pouw.hashing import framed
from pouw.ops.kind import Bounded, Expected, Need
from pouw.program_error import ProgramError, ProgramReason
from pouw.tensors import Array, DType, TensorSpec, index_dtype


@dataclass(frozen=True, slots=True)
class Argmax:
    """out[i,0] = min {j : A[i,j] = max A[i]}.

    Operand: A, int8 to int32, [m,n]. Output [m,1] in `index_dtype(n)`. A cell is the whole row.
    """

    def encode(self) -> bytes:
        """See `OpKind.encode`."""
        return framed(b"argmax")

    def infer(self, operands: Sequence[Bounded]) -> Bounded:
        """See `OpKind.infer`."""
        if len(operands) != 1:
            raise ProgramError(ProgramReason.SHAPE, f"argmax of {len(operands)} operands, it takes 1")
        spec = operands[0].spec
        if spec.dtype > DType.INT32:
            raise ProgramError(ProgramReason.DTYPE, f"argmax of {spec.dtype.name}, at most INT32")
        return Bounded(TensorSpec(spec.rows, 1, index_dtype(spec.cols)), 0, spec.cols - 1)

    def cost(self, operands: Sequence[TensorSpec]) -> int:
        """See `OpKind.cost`: one unit per value looked at."""
        return operands[0].cols

    def run(self, backend: Backend, operands: Sequence[Any]) -> Any:
        """See `OpKind.run`."""
        return backend.argmax(operands[0])

    def needs(self, row: int, col: int) -> tuple[Need, ...]:  # noqa: ARG002 - the output has one column
        """See `OpKind.needs`."""
        return (Need(0, row),)

    def check(self, row: int, col: int, rows: Sequence[Array]) -> Expected:  # noqa: ARG002 - one value a row
        """See `OpKind.check`."""
        return Expected(0, np.array([int(np.argmax(rows[0]))], index_dtype(rows[0].size).numpy))
