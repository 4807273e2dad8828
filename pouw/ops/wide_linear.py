"""`wide_linear`: errors A[m,k] in 16 bits times an int8 matrix B[n,k]ᵀ, as backward passes need it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pouw.arithmetic.stochastic import MAX_STOCHASTIC_SHIFT, noise_rows, spread
from pouw.arithmetic.transformer_training_rows import ERROR_LIMIT, wide_rows
from pouw.backends.backend import Backend
from pouw.hashing import framed, i64, u32, u64
from pouw.ops.kind import Bounded, Expected, Need
from pouw.ops.matmul import MAX_DEPTH
from pouw.ops.require import (
    MAX_CONSTANT_SHIFT,
    require,
    require_constant,
    require_count,
    require_dtype,
    require_spec,
    require_wide,
    size_of,
)
from pouw.program_error import ProgramReason
from pouw.tensors import Array, DType, TensorSpec

MAX_SEED: Final = 64


@dataclass(frozen=True, slots=True)
class Chance:
    """Where the noise of a tensor that is rounded by chance comes from.

    Args:
        seed: 0..64 bytes, not known before whoever computes is bound to what it computes from.
        stream: names the tensor under the seed.
        cols: of the tensor, so that the noise of one element can be found.
    """

    seed: bytes
    stream: int
    cols: int

    def encode(self) -> bytes:
        """The source, unambiguous."""
        return framed(self.seed, u64(self.stream) + u32(self.cols))

    def noise(self, rows: range) -> NDArray[np.int8]:
        """Of some rows, [len(rows), cols]."""
        return noise_rows(self.seed, stream=self.stream, rows=rows, cols=self.cols)

    def added(self, row: int, col: int, *, shift: int) -> NDArray[np.int64]:
        """What goes into one element before its shift, 1-D."""
        return spread(self.noise(range(row, row + 1))[0, col : col + 1], shift)


@dataclass(frozen=True, slots=True)
class WideLinear:
    """out[i,j] = clamp(onto[i,j] + (A[i] · B[j] >> shift)), rounded half up, or by chance.

    Operands: A int16 [m,k] within ERROR_LIMIT, B int8 [n,k], and, if asked, `onto` of the output's shape and
    type. A cell is one element; it opens a row of A and of B, of `onto` the element.

    Args:
        shift: 0..62; 0..24 with chance.
        limit: results lie in -limit..limit.
        dtype: of the output, INT16 or INT32.
        onto: whether there is a third operand.
        chance: of the rounding, see `pouw.arithmetic.stochastic`; None rounds half up.
    """

    shift: int
    limit: int = ERROR_LIMIT
    dtype: DType = DType.INT16
    onto: bool = False
    chance: Chance | None = None

    def encode(self) -> bytes:
        """See `OpKind.encode`."""
        chance = b"" if self.chance is None else self.chance.encode()
        flags = bytes([self.dtype, self.onto])
        return framed(b"wide_linear", u32(self.shift) + i64(self.limit) + flags, chance)

    def infer(self, operands: Sequence[Bounded]) -> Bounded:
        """See `OpKind.infer`."""
        require_count("wide_linear", operands, 2 + self.onto)
        most = MAX_CONSTANT_SHIFT if self.chance is None else MAX_STOCHASTIC_SHIFT
        require_constant("wide_linear by a shift of", self.shift, 0, most)
        if self.chance is not None:
            require_constant("wide_linear by a seed of", len(self.chance.seed), 0, MAX_SEED)
        require(
            self.dtype in (DType.INT16, DType.INT32),
            ProgramReason.DTYPE,
            f"wide_linear to {self.dtype.name}, it must be INT16 or INT32",
        )
        require_constant("wide_linear to a limit of", self.limit, 1, self.dtype.high)
        a, b = operands[:2]
        require_dtype("wide_linear's A", a.spec, DType.INT16)
        require_dtype("wide_linear's B", b.spec, DType.INT8)
        require_constant("wide_linear of errors up to", size_of(a), 0, ERROR_LIMIT)
        depth = a.spec.cols
        require(
            depth == b.spec.cols, ProgramReason.SHAPE, f"wide_linear of rows of {depth} and {b.spec.cols}"
        )
        require(depth <= MAX_DEPTH, ProgramReason.RANGE, f"dot products of {depth}, exact up to {MAX_DEPTH}")
        out = TensorSpec(a.spec.rows, b.spec.rows, self.dtype)
        if self.chance is not None:
            require_constant("noise of as many columns as", self.chance.cols, out.cols, out.cols)
        bound = depth * size_of(a) * size_of(b) + (1 << self.shift)
        if self.onto:
            require_spec("wide_linear's third operand", operands[2], out.rows, out.cols, self.dtype)
            bound += size_of(operands[2])
        require_wide("a sum", bound)
        return Bounded(out, -self.limit, self.limit)

    def cost(self, operands: Sequence[TensorSpec]) -> int:
        """See `OpKind.cost`: twice n * k multiply-accumulates a row."""
        return 2 * operands[1].rows * operands[1].cols

    def run(self, backend: Backend, operands: Sequence[Any]) -> Any:
        """See `OpKind.run`."""
        noise = None
        if self.chance is not None:
            noise = backend.put(self.chance.noise(range(operands[0].shape[0])))
        return backend.transformer_training.wide_linear(
            operands[0], operands[1], operands[2] if self.onto else None, noise,
            shift=self.shift, limit=self.limit, dtype=self.dtype,
        )  # fmt: skip

    def needs(self, row: int, col: int) -> tuple[Need, ...]:
        """See `OpKind.needs`."""
        pair = (Need(0, row), Need(1, col))
        return (*pair, Need(2, row, cols=range(col, col + 1))) if self.onto else pair

    def check(self, row: int, col: int, rows: Sequence[Array]) -> Expected:
        """See `OpKind.check`."""
        total = (rows[0].astype(np.int64) * rows[1].astype(np.int64)).sum(keepdims=True)
        onto = rows[2].astype(np.int64) if self.onto else None
        added = None if self.chance is None else self.chance.added(row, col, shift=self.shift)
        value = wide_rows(total, onto, added, shift=self.shift, limit=self.limit)
        return Expected(col, value.astype(self.dtype.numpy))
