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
    """Rows that the check of a cell reads: `count` of the op's operand number `operand`, from `row` on.

    Of a single row it may be some columns alone: `cols`, not empty, of which those beyond the row's end do
    not count; None for all of them.
    """

    operand: int
    row: int
    count: int = 1
    cols: range | None = None

    @property
    def rows(self) -> range:
        """The rows, ascending."""
        return range(self.row, self.row + self.count)

    def columns(self, width: int) -> range:
        """The columns, of rows of so many."""
        return range(width) if self.cols is None else self.cols[: width - self.cols.start]

    def read(self, operand: Array) -> list[Array]:
        """What is read of a whole operand, one entry per row."""
        if self.cols is None:
            return list(operand[self.rows.start : self.rows.stop])
        return [operand[self.row, self.cols.start : self.cols.stop]]


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
        """The operand rows that decide the cell (row, col) of the output.

        An operand that is not committed and whose cells are single elements can be read by columns only.
        """

    def check(self, row: int, col: int, rows: Sequence[Array]) -> Expected:
        """What the output must hold around (row, col), in plain numpy.

        Never raises, whatever the values: rows come from a peer.

        Args:
            row: of the output.
            col: of the output.
            rows: 1-D, one per row of `needs`, in its order; of some columns, those columns.
        """
