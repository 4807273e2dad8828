"""The part of a backend that training transformers needs; `transformer_training_rows` defines its numbers."""

from typing import Any, Protocol

from pouw.arithmetic.heads import Heads
from pouw.tensors import DType


class TransformerTraining(Protocol):
    """Exact operations of backward passes and updates, on tensors of the backend's own kind (`Any` below).

    Every method gives the bits that `pouw.backends.reference_transformer_training` gives. Shapes are those of
    the op kinds of the same names in `pouw.ops`.
    """

    def wide_linear(
        self, a: Any, b: Any, onto: Any | None, noise: Any | None, *, shift: int, limit: int, dtype: DType
    ) -> Any:
        """See `pouw.ops.wide_linear`; noise is int8 of the output's shape, or None to round half up."""

    def part_sums(self, a: Any, noise: Any | None, *, parts: int, shift: int, limit: int) -> Any:
        """See `pouw.ops.part_sums`; noise as in `wide_linear`."""

    def norm_gradient(self, x: Any, errors: Any, onto: Any | None, *, epsilon: int, shift: int) -> Any:
        """See `pouw.ops.norm_gradient`."""

    def rotary_gradient(self, errors: Any, turns: Any, *, heads: Heads) -> Any:
        """See `pouw.ops.rotary_gradient`."""

    def attention_shares(self, weights: Any, *, heads: Heads) -> Any:
        """See `pouw.ops.attention_shares`."""

    def attention_errors(self, weights: Any, errors: Any, values: Any, *, heads: Heads, shift: int) -> Any:
        """See `pouw.ops.attention_errors`."""

    def heads_product(self, a: Any, b: Any, *, heads: Heads, multiplier: int, shift: int) -> Any:
        """See `pouw.ops.heads_product`."""

    def heads_turned(self, a: Any, *, heads: Heads, to_channels: bool) -> Any:
        """See `pouw.ops.heads_turned`."""

    def scores_turned(self, a: Any, *, heads: Heads) -> Any:
        """See `pouw.ops.heads_turned`."""

    def gate_gradient(self, errors: Any, gate: Any, up: Any | None, *, table: bytes, shift: int) -> Any:
        """See `pouw.ops.gate_gradient`."""

    def token_gradient(self, logits: Any, tokens: Any, *, length: int) -> Any:
        """See `pouw.ops.next_token`."""

    def token_loss(self, logits: Any, tokens: Any, *, length: int) -> Any:
        """See `pouw.ops.next_token`."""

    def embedding_gradient(self, tokens: Any, errors: Any, *, rows: int, limit: int) -> Any:
        """See `pouw.ops.embedding_gradient`."""

    def momentum(self, momentum: Any, gradient: Any, *, decay: int, limit: int) -> Any:
        """See `pouw.ops.lion`."""

    def lion(
        self, master: Any, momentum: Any, gradient: Any, *,
        rate: int, fade: int, keep: int, lift: int, limit: int,
    ) -> Any:  # fmt: skip
        """See `pouw.ops.lion`."""

    def narrowed(self, a: Any, *, shift: int, limit: int, dtype: DType) -> Any:
        """See `pouw.ops.narrowed`."""
