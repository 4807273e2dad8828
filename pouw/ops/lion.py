"""The update by signs (Lion; Chen et al. 2023, arXiv 2302.06675, algorithm 2) as two ops.

Only the sign of a gradient's running mean moves a master, so nothing is divided, and the size of a gradient
never matters: which is why it is at home in integers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from pouw.arithmetic.transformer_training_rows import lion_rows, momentum_rows
from pouw.backends.backend import Backend
from pouw.hashing import framed, i64, u32
from pouw.ops.elementwise import (
    block_of,
    check_alike,
    check_constant,
    check_count,
    check_int32,
    same_block,
)
from pouw.ops.kind import Bounded, Expected, Need
from pouw.tensors import Array, DType, TensorSpec

MAX_LIMIT: Final = 1 << 30
_MAX_DECAY: Final = 16


@dataclass(frozen=True, slots=True)
class Momentum:
    """out = clamp(M - round(M / 2^decay) + G, -limit, limit).

    Operands: momentum M and gradient G, int32 [m,n]. Output int32 [m,n]: 2^decay times the running mean of
    the gradients, so that no bit of them is lost. A cell is a block of columns.

    Args:
        decay: 1..16.
        limit: 1..2^30.

    Raises:
        ProgramError: CONSTANT.
    """

    decay: int
    limit: int

    def __post_init__(self) -> None:
        check_constant("decay", self.decay, low=1, high=_MAX_DECAY)
        check_constant("limit", self.limit, low=1, high=MAX_LIMIT)

    def encode(self) -> bytes:
        """See `OpKind.encode`."""
        return framed(b"momentum", u32(self.decay) + i64(self.limit))

    def infer(self, operands: Sequence[Bounded]) -> Bounded:
        """See `OpKind.infer`."""
        check_count("momentum", operands, count=2)
        spec = check_alike("momentum", operands, dtype=DType.INT32)
        momentum, gradient = operands
        low, high = momentum.low + gradient.low, momentum.high + gradient.high
        check_int32("a momentum with its gradient", low, high)
        half = 1 << (self.decay - 1)
        check_int32("a momentum before its shift", momentum.low, momentum.high + half)
        return Bounded(spec, -self.limit, self.limit)

    def cost(self, operands: Sequence[TensorSpec]) -> int:
        """See `OpKind.cost`: one unit per value."""
        return operands[0].cols

    def run(self, backend: Backend, operands: Sequence[Any]) -> Any:
        """See `OpKind.run`."""
        return backend.transformer_training.momentum(*operands, decay=self.decay, limit=self.limit)

    def needs(self, row: int, col: int) -> tuple[Need, ...]:
        """See `OpKind.needs`."""
        return same_block(row, col, operands=2)

    def check(self, row: int, col: int, rows: Sequence[Array]) -> Expected:  # noqa: ARG002 - of one block
        """See `OpKind.check`."""
        return Expected(
            block_of(col).start, momentum_rows(rows[0], rows[1], decay=self.decay, limit=self.limit)
        )


@dataclass(frozen=True, slots=True)
class Lion:
    """out = clamp(W - rate * sign(keep * M + G * 2^lift) - round(W * rate / 2^fade), -limit, limit).

    Operands: masters W, momenta M before this step, gradients G, int32 [m,n]. Output int32 [m,n]. A cell is
    a block of columns.

    Args:
        rate: what a master moves by; 1..2^20.
        fade: a master loses rate / 2^fade of itself; 1..62.
        keep: weight of the momentum; 1..2^16.
        lift: weight of the gradient, as a power of two; 0..16.
        limit: 1..2^30.

    Raises:
        ProgramError: CONSTANT.
    """

    rate: int
    fade: int
    keep: int
    lift: int
    limit: int

    def __post_init__(self) -> None:
        check_constant("rate", self.rate, low=1, high=1 << 20)
        check_constant("fade", self.fade, low=1, high=62)
        check_constant("weight of the momentum", self.keep, low=1, high=1 << 16)
        check_constant("lift of the gradient", self.lift, low=0, high=16)
        check_constant("limit", self.limit, low=1, high=MAX_LIMIT)

    def encode(self) -> bytes:
        """See `OpKind.encode`."""
        numbers = u32(self.rate) + u32(self.fade) + u32(self.keep) + u32(self.lift) + i64(self.limit)
        return framed(b"lion", numbers)

    def infer(self, operands: Sequence[Bounded]) -> Bounded:
        """See `OpKind.infer`: 2^31 * 2^20 and 2^31 * 2^16, twice, with a rounding term of 2^61."""
        check_count("lion", operands, count=3)
        spec = check_alike("lion", operands, dtype=DType.INT32)
        return Bounded(spec, -self.limit, self.limit)

    def cost(self, operands: Sequence[TensorSpec]) -> int:
        """See `OpKind.cost`: two units per value."""
        return 2 * operands[0].cols

    def run(self, backend: Backend, operands: Sequence[Any]) -> Any:
        """See `OpKind.run`."""
        return backend.transformer_training.lion(
            *operands, rate=self.rate, fade=self.fade, keep=self.keep, lift=self.lift, limit=self.limit
        )

    def needs(self, row: int, col: int) -> tuple[Need, ...]:
        """See `OpKind.needs`."""
        return same_block(row, col, operands=3)

    def check(self, row: int, col: int, rows: Sequence[Array]) -> Expected:  # noqa: ARG002 - of one block
        """See `OpKind.check`."""
        out = lion_rows(
            *rows, rate=self.rate, fade=self.fade, keep=self.keep, lift=self.lift, limit=self.limit
        )
        return Expected(block_of(col).start, out)
