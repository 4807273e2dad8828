"""How the heads of attention lie in tensors: the shape that its ops share."""

from dataclasses import dataclass

from pouw.hashing import framed, u32
from pouw.program_error import ProgramError, ProgramReason

MAX_HEAD_DIM = 1024
"""Scores of int8 values sum exactly in float32 up to here, which is how a CPU multiplies them fastest."""


@dataclass(frozen=True, slots=True)
class Heads:
    """Shapes of grouped-query attention over some sequences.

    Keys and weights lie head by head, so that the keys that one row of weights reads are neighbours and
    their openings share a path; values lie transposed, as their matmul gives them.

        queries [sequences * tokens, queries * dim]     row s * tokens + t, column h * dim + c
        keys    [sequences * keys * span, dim]          row (s * keys + h // group) * span + j
        weights [sequences * queries * tokens, span]    row (s * queries + h) * tokens + t, column j
        values  [keys * dim, sequences * span]          row (h // group) * dim + c, column s * span + j

    Args:
        sequences: independent ones, of equal length.
        past: tokens of each that were there before.
        tokens: new tokens of each.
        queries: heads of the queries.
        keys: heads of keys and values; divides `queries`.
        dim: values of one head.

    Raises:
        ProgramError: SHAPE.
    """

    sequences: int
    past: int
    tokens: int
    queries: int
    keys: int
    dim: int

    def __post_init__(self) -> None:
        least = min(self.sequences, self.tokens, self.queries, self.keys)
        if least < 1 or self.past < 0 or not 1 <= self.dim <= MAX_HEAD_DIM or self.queries % self.keys:
            raise ProgramError(ProgramReason.SHAPE, f"{self} has no heads, or they do not divide")

    @property
    def span(self) -> int:
        """Positions that a query may look at: those before, and the new ones."""
        return self.past + self.tokens

    @property
    def group(self) -> int:
        """Query heads that share a head of keys."""
        return self.queries // self.keys

    def encode(self) -> bytes:
        """The numbers, unambiguous."""
        numbers = (self.sequences, self.past, self.tokens, self.queries, self.keys, self.dim)
        return framed(b"".join(map(u32, numbers)))

    def query(self, row: int) -> tuple[int, int, int]:
        """Sequence, head and new token of a row that lies head by head."""
        rest, token = divmod(row, self.tokens)
        return rest // self.queries, rest % self.queries, token

    def first_key(self, sequence: int, head: int) -> int:
        """The row of the keys that a query head looks at first."""
        return (sequence * self.keys + head // self.group) * self.span
