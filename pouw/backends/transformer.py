"""The part of a backend that transformers need; `pouw.arithmetic.transformer_rows` defines its numbers."""

from typing import Any, Protocol

from pouw.arithmetic.heads import Heads
from pouw.tensors import DType


class TransformerOps(Protocol):
    """Exact operations of transformers, on tensors of the backend's own kind (`Any` below).

    Every method gives the bits that `pouw.backends.reference_transformer` gives. Shapes are those of the op
    kinds of the same names in `pouw.ops`.
    """

    def linear(
        self, a: Any, b: Any, scale: Any, residual: Any | None, *,
        by_row: bool, shift: int, limit: int, dtype: DType,
    ) -> Any:  # fmt: skip
        """See `pouw.ops.linear`."""

    def row_norm(self, x: Any, gain: Any, *, epsilon: int, shift: int) -> Any:
        """See `pouw.ops.row_norm`."""

    def rotary(self, x: Any, turns: Any, *, heads: Heads, shift: int, by_head: bool) -> Any:
        """See `pouw.ops.rotary`; the heads are `heads.queries`."""

    def attention_weights(self, queries: Any, keys: Any, *, heads: Heads, multiplier: int, shift: int) -> Any:
        """See `pouw.ops.attention_weights`."""

    def attention_mix(self, weights: Any, values: Any, *, heads: Heads, gain: int) -> Any:
        """See `pouw.ops.attention_mix`."""

    def gate(self, gate: Any, up: Any, *, table: bytes, shift: int) -> Any:
        """See `pouw.ops.gate`."""

    def gather(self, index: Any, table: Any, *, lift: int, dtype: DType) -> Any:
        """See `pouw.ops.gather`."""

    def append(self, old: Any, new: Any, *, blocks: int, by_col: bool) -> Any:
        """See `pouw.ops.append`."""

    def last_rows(self, x: Any, *, blocks: int, keep: int) -> Any:
        """See `pouw.ops.last_rows`."""
