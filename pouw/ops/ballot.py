"""`ballots` and `majority`: which way gradients point, shard by shard, and which way most of them do.

A vote is small and says little, and that is its strength: whoever lies about one shard moves one ballot, not
the sum. What a value of a ballot or a majority costs is a constant of the program: it stands for as many
products as its shard has rows. Draws then fall on the vote as often as on the gradients behind it, and a
false vote is found as surely as false work.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from pouw.backends.backend import Backend
from pouw.hashing import framed, u32
from pouw.ops.elementwise import block_of, check_constant, check_count
from pouw.ops.kind import Bounded, Expected, Need
from pouw.ops.require import require_dtype, require_spec
from pouw.tensors import MAX_COLS, Array, DType, TensorSpec

MAX_BALLOTS: Final = 127
"""Their sum fits int8."""

MAX_WEIGHT: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class Ballots:
    """out[r, c * shards + s] = the sign of shard s's gradient by number c of unit r: a weight, or the bias.

    Operands: for each shard and each layer, first to last, the gradient of its weights, int32 [m, n * parts],
    and of its biases, int32 [m, parts], as `PartProducts` gives them: parts that add up. Output int8 [sum of
    all m, width * shards], of -1, 0 and 1; units are numbered through all layers, and a unit's bias follows
    on its weights; behind it there are zeros. A cell is one element; it opens the parts of the gradient. What
    all shards say of a number lies side by side.

    Args:
        shards: 1..MAX_BALLOTS.
        widths: n of the first layer, then m of each.
        parts: of each gradient's number, side by side, at least 1.
        weight: work units of one value, 1..MAX_WEIGHT.

    Raises:
        ProgramError: CONSTANT.
    """

    shards: int
    widths: tuple[int, ...]
    parts: int
    weight: int

    def __post_init__(self) -> None:
        check_constant("shards", self.shards, low=1, high=MAX_BALLOTS)
        check_constant("layers", len(self.units), low=1, high=MAX_BALLOTS)
        check_constant("parts", self.parts, low=1, high=MAX_COLS)
        check_constant("width", self.width, low=2, high=MAX_COLS // MAX_BALLOTS)
        check_constant("weight", self.weight, low=1, high=MAX_WEIGHT)

    @property
    def units(self) -> tuple[int, ...]:
        """Of each layer."""
        return self.widths[1:]

    @property
    def width(self) -> int:
        """Numbers of the unit that has most, its bias among them."""
        return max(self.widths[:-1]) + 1

    def encode(self) -> bytes:
        """See `OpKind.encode`."""
        numbers = u32(self.shards) + u32(self.parts) + u32(self.weight)
        return framed(b"ballots", b"".join(map(u32, self.widths)), numbers)

    def infer(self, operands: Sequence[Bounded]) -> Bounded:
        """See `OpKind.infer`."""
        check_count("ballots", operands, count=2 * len(self.units) * self.shards)
        pairs = zip(operands[::2], operands[1::2], strict=True)
        for number, (weights, biases) in enumerate(pairs):
            layer = number % len(self.units)
            units, inputs = self.units[layer], self.widths[layer]
            require_spec("gradients", weights, units, inputs * self.parts, DType.INT32)
            require_spec("gradients of biases", biases, units, self.parts, DType.INT32)
        return Bounded(TensorSpec(sum(self.units), self.width * self.shards, DType.INT8), -1, 1)

    def cost(self, operands: Sequence[TensorSpec]) -> int:  # noqa: ARG002 - a constant
        """See `OpKind.cost`."""
        return self.weight * self.width * self.shards

    def run(self, backend: Backend, operands: Sequence[Any]) -> Any:
        """See `OpKind.run`."""
        arrays = [backend.get(operand) for operand in operands]
        layers = len(self.units)
        parts = [self._said(*pair) for pair in zip(arrays[::2], arrays[1::2], strict=True)]
        shards = [np.concatenate(parts[first : first + layers]) for first in range(0, len(parts), layers)]
        return backend.put(np.stack(shards, axis=2).reshape(sum(self.units), -1))

    def needs(self, row: int, col: int) -> tuple[Need, ...]:
        """See `OpKind.needs`."""
        layer, (number, shard) = 0, divmod(col, self.shards)
        while row >= self.units[layer]:
            row -= self.units[layer]
            layer += 1
        operand, inputs = 2 * (len(self.units) * shard + layer), self.widths[layer]
        if number == inputs:
            return (Need(operand + 1, row),)
        own = range(number * self.parts, (number + 1) * self.parts)
        return (Need(operand, row, cols=own),) if number < inputs else ()

    def check(self, row: int, col: int, rows: Sequence[Array]) -> Expected:  # noqa: ARG002 - one element
        """See `OpKind.check`."""
        return Expected(col, self._signs(rows[0].reshape(1, -1))[0] if rows else np.zeros(1, np.int8))

    def _said(self, weights: Array, biases: Array) -> Array:
        """What one shard says of one layer."""
        out = np.zeros((len(weights), self.width), np.int8)
        inputs = weights.shape[1] // self.parts
        out[:, :inputs] = self._signs(weights)
        out[:, inputs] = self._signs(biases)[:, 0]
        return out

    def _signs(self, gradients: Array) -> Array:
        """Of each number's sum of parts."""
        total = gradients.reshape(len(gradients), -1, self.parts).sum(axis=2, dtype=np.int64)
        signs: Array = np.sign(total).astype(np.int8)
        return signs


@dataclass(frozen=True, slots=True)
class Majority:
    """out[r, c] = the sign of the sum of the `terms` ballots on number c of row r.

    Operand: ballots as `Ballots` lays them out, int8 [m, n * terms] of -1, 0 and 1. Output int8 [m,n]. A cell
    is a block of columns; it opens the ballots on them.

    Args:
        terms: 1..MAX_BALLOTS.
        weight: work units of one value of one ballot, 1..MAX_WEIGHT.

    Raises:
        ProgramError: CONSTANT.
    """

    terms: int
    weight: int

    def __post_init__(self) -> None:
        check_constant("terms", self.terms, low=1, high=MAX_BALLOTS)
        check_constant("weight", self.weight, low=1, high=MAX_WEIGHT)

    def encode(self) -> bytes:
        """See `OpKind.encode`."""
        return framed(b"majority", u32(self.terms) + u32(self.weight))

    def infer(self, operands: Sequence[Bounded]) -> Bounded:
        """See `OpKind.infer`."""
        check_count("majority", operands, count=1)
        spec = operands[0].spec
        require_dtype("ballots", spec, DType.INT8)
        check_constant("columns beyond whole ballots", spec.cols % self.terms, low=0, high=0)
        check_constant("least value of a ballot", operands[0].low, low=-1, high=1)
        check_constant("greatest value of a ballot", operands[0].high, low=-1, high=1)
        return Bounded(TensorSpec(spec.rows, spec.cols // self.terms, DType.INT8), -1, 1)

    def cost(self, operands: Sequence[TensorSpec]) -> int:
        """See `OpKind.cost`."""
        return self.weight * operands[0].cols

    def run(self, backend: Backend, operands: Sequence[Any]) -> Any:
        """See `OpKind.run`."""
        return backend.put(self._of(backend.get(operands[0])))

    def needs(self, row: int, col: int) -> tuple[Need, ...]:
        """See `OpKind.needs`."""
        block = block_of(col)
        return (Need(0, row, cols=range(block.start * self.terms, block.stop * self.terms)),)

    def check(self, row: int, col: int, rows: Sequence[Array]) -> Expected:  # noqa: ARG002 - of one block
        """See `OpKind.check`."""
        return Expected(block_of(col).start, self._of(rows[0].reshape(1, -1))[0])

    def _of(self, ballots: Array) -> Array:
        # In int64: rows that come from a peer may hold anything that int8 does.
        total = ballots.reshape(len(ballots), -1, self.terms).sum(axis=2, dtype=np.int64)
        most: Array = np.sign(total).astype(np.int8)
        return most
