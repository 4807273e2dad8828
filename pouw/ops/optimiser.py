"""The update: gradient descent with momentum, as two ops, `velocity` and `descend`.

The noise of a tensor is one stream of the step's seed, of which a cell needs its own row's stretch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from pouw.arithmetic.stochastic import check_shift, noise_rows
from pouw.backends.backend import Backend
from pouw.backends.reference_training import ReferenceTraining
from pouw.hashing import framed, u32, u64
from pouw.ops.elementwise import (
    block_of,
    check_alike,
    check_constant,
    check_count,
    check_int32,
    same_block,
    same_rows,
)
from pouw.ops.kind import Bounded, Expected, Need
from pouw.tensors import Array, DType, TensorSpec

_MAX_FRICTION: Final = 16
_MAX_LIMIT: Final = 1 << 30


@dataclass(frozen=True, slots=True)
class Velocity:
    """out = clamp(V - round(V / 2^friction) + stochastic(G / 2^shift), -limit, limit).

    Operands: speeds V and gradients G, int32 [m,n]. Output int32 [m,n]. A cell is the whole row.

    Args:
        seed: of the noise; not known before the gradients are bound.
        stream: names the tensor under the seed.
        shift: bits to remove from the gradient; the rate of learning is 2^-shift.
        friction: 1..16.
        limit: 1..2^30.

    Raises:
        ProgramError: CONSTANT.
    """

    seed: bytes
    stream: int
    shift: int
    friction: int
    limit: int

    def __post_init__(self) -> None:
        check_shift(self.shift)
        check_constant("friction", self.friction, low=1, high=_MAX_FRICTION)
        check_constant("limit", self.limit, low=1, high=_MAX_LIMIT)

    def encode(self) -> bytes:
        """See `OpKind.encode`."""
        numbers = u64(self.stream) + u32(self.shift) + u32(self.friction) + u32(self.limit)
        return framed(b"velocity", self.seed, numbers)

    def infer(self, operands: Sequence[Bounded]) -> Bounded:
        """See `OpKind.infer`."""
        check_count("velocity", operands, count=2)
        spec = check_alike("velocity", operands, dtype=DType.INT32)
        speed, gradient = operands
        half, most = (1 << self.friction) >> 1, (1 << self.shift) - 1
        check_int32("a speed before its shift", speed.low + half, speed.high + half)
        check_int32("a gradient before its shift", gradient.low, gradient.high + most)
        low, high = gradient.low >> self.shift, (gradient.high + most) >> self.shift
        check_int32("a speed with its gradient", min(speed.low, 0) + low, max(speed.high, 0) + high)
        return Bounded(spec, -self.limit, self.limit)

    def cost(self, operands: Sequence[TensorSpec]) -> int:
        """See `OpKind.cost`: one unit per value."""
        return operands[0].cols

    def run(self, backend: Backend, operands: Sequence[Any]) -> Any:
        """See `OpKind.run`."""
        rows, cols = operands[0].shape
        noise = backend.put(noise_rows(self.seed, stream=self.stream, rows=range(rows), cols=cols))
        return backend.training.velocity(
            operands[0], operands[1], noise, shift=self.shift, friction=self.friction, limit=self.limit
        )

    def needs(self, row: int, col: int) -> tuple[Need, ...]:  # noqa: ARG002 - the whole row
        """See `OpKind.needs`."""
        return same_rows(row, operands=2)

    def check(self, row: int, col: int, rows: Sequence[Array]) -> Expected:  # noqa: ARG002 - the whole row
        """See `OpKind.check`."""
        noise = noise_rows(self.seed, stream=self.stream, rows=range(row, row + 1), cols=rows[0].size)[0]
        values = ReferenceTraining().velocity(
            rows[0], rows[1], noise, shift=self.shift, friction=self.friction, limit=self.limit
        )
        return Expected(0, values)


@dataclass(frozen=True, slots=True)
class Descend:
    """out = clamp(W - V, -limit, limit).

    Operands: masters W and speeds V, int32 [m,n]. Output int32 [m,n]. A cell is a block of columns.

    Args:
        limit: 1..2^30.

    Raises:
        ProgramError: CONSTANT.
    """

    limit: int

    def __post_init__(self) -> None:
        check_constant("limit", self.limit, low=1, high=_MAX_LIMIT)

    def encode(self) -> bytes:
        """See `OpKind.encode`."""
        return framed(b"descend", u32(self.limit))

    def infer(self, operands: Sequence[Bounded]) -> Bounded:
        """See `OpKind.infer`."""
        check_count("descend", operands, count=2)
        spec = check_alike("descend", operands, dtype=DType.INT32)
        master, speed = operands
        check_int32("a master less its speed", master.low - speed.high, master.high - speed.low)
        return Bounded(spec, -self.limit, self.limit)

    def cost(self, operands: Sequence[TensorSpec]) -> int:
        """See `OpKind.cost`: one unit per value."""
        return operands[0].cols

    def run(self, backend: Backend, operands: Sequence[Any]) -> Any:
        """See `OpKind.run`."""
        return backend.training.descend(operands[0], operands[1], limit=self.limit)

    def needs(self, row: int, col: int) -> tuple[Need, ...]:
        """See `OpKind.needs`."""
        return same_block(row, col, operands=2)

    def check(self, row: int, col: int, rows: Sequence[Array]) -> Expected:  # noqa: ARG002 - of one block
        """See `OpKind.check`."""
        return Expected(block_of(col).start, ReferenceTraining().descend(rows[0], rows[1], limit=self.limit))
