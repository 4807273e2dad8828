"""What an op kind is: everything the package knows about an operation sits in one object of one file."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from pouw.backends.backend import Backend
from pouw.tensors import Array, TensorSpec


@dataclass(frozen=True, slots=True)
class Bounded:
    """A tensor as a program's builder sees it: its shape and the interval that holds every value of it."""

    spec: TensorSpec
    low: int
    high: int


@dataclass(frozen=True, slots=True)
class Need:
    """Rows that the check of a cell reads: `count` of the op's operand number `operand`, from `row` on."""

    operand: int
    row: int
    count: int = 1

    @property
    def rows(self) -> range:
        """The rows, ascending."""
        return range(self.row, self.row + self.count)


@dataclass(frozen=True, slots=True)
class Expected:
    """What a cell must hold: `values` from column `start` of the output row on."""

    start: int
    values: Array


class OpKind(Protocol):
    """One operation with its constants. Implementations are frozen dataclasses.

    A new kind is one file here, plus one method of `Backend` if no present one serves it.
    """

    def encode(self) -> bytes:
        """The kind's name and constants, unambiguous; enters the program's digest."""

    def infer(self, operands: Sequence[Bounded]) -> Bounded:
        """Shape, type and range of the output.

        Raises:
            ProgramError: SHAPE, DTYPE, CONSTANT, or RANGE if any value on the way could leave its type.
        """

    def cost(self, operands: Sequence[TensorSpec]) -> int:
        """Work units of one output row, at least 1; one unit is one int8 multiply-accumulate."""

    def run(self, backend: Backend, operands: Sequence[Any]) -> Any:
        """The output, from and to the backend's own tensors."""

    def needs(self, row: int, col: int) -> tuple[Need, ...]:
        """The operand rows that decide the cell (row, col) of the output."""

    def check(self, row: int, col: int, rows: Sequence[Array]) -> Expected:
        """What the output must hold around (row, col), in plain numpy.

        Never raises, whatever the values: rows come from a peer.

        Args:
            row: of the output.
            col: of the output.
            rows: 1-D, one per entry of `needs`, in its order.
        """
