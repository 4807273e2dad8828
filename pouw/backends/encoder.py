"""The part of a backend that encoders need; `pouw.arithmetic.encoder_rows` defines every number of it."""

from typing import Any, Protocol

from pouw.arithmetic.heads import Heads
from pouw.tensors import DType


class EncoderOps(Protocol):
    """Exact operations of encoders, on tensors of the backend's own kind (`Any` below).

    Every method gives the bits that `pouw.backends.reference_encoder` gives. Shapes are those of the op kinds
    of the same names in `pouw.ops`.
    """

    def affine(
        self, a: Any, b: Any, scale: Any, bias: Any, residual: Any | None, *,
        by_row: bool, shift: int, limit: int, dtype: DType, table: bytes,
    ) -> Any:  # fmt: skip
        """See `pouw.ops.affine`."""

    def layer_norm(
        self, x: Any, gain: Any, bias: Any, *, epsilon: int, shift: int, lift: int, limit: int, dtype: DType
    ) -> Any:
        """See `pouw.ops.layer_norm`."""

    def attention_weights(
        self, queries: Any, keys: Any, *, heads: Heads, lengths: tuple[int, ...], multiplier: int, shift: int
    ) -> Any:
        """See `pouw.ops.attention_weights`, of queries that look both ways."""

    def positions(self, x: Any, table: Any, *, places: tuple[int, ...], lift: int) -> Any:
        """X[i] + (table[places[i]] << lift), of X's type."""

    def split_heads(self, x: Any, *, heads: Heads) -> Any:
        """See `pouw.ops.split_heads`."""

    def mean_pool(self, x: Any, *, tokens: int, lengths: tuple[int, ...]) -> Any:
        """See `pouw.ops.mean_pool`."""

    def first_rows(self, x: Any, *, blocks: int) -> Any:
        """See `pouw.ops.first_rows`."""
