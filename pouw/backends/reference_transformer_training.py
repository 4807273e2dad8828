"""The reference backend's part for training transformers: numpy, in 64 bits."""

import numpy as np
from numpy.typing import NDArray

from pouw.arithmetic.fixed import clamped, rounded
from pouw.arithmetic.heads import Heads
from pouw.arithmetic.stochastic import spread
from pouw.arithmetic.transformer_training_rows import (
    gate_gradient_rows,
    lion_rows,
    momentum_rows,
    norm_gradient_rows,
    rotary_gradient_rows,
    scaled_rows,
    score_error_rows,
    share_rows,
    token_gradient_rows,
    token_loss_rows,
    wide_rows,
)
from pouw.tensors import Array, DType


class ReferenceTransformerTraining:
    """See `pouw.backends.transformer_training.TransformerTraining`; tensors are host arrays."""

    def wide_linear(
        self, a: Array, b: Array, onto: Array | None, noise: Array | None, *,
        shift: int, limit: int, dtype: DType,
    ) -> Array:  # fmt: skip
        """See `pouw.ops.wide_linear`."""
        total: NDArray[np.int64] = a.astype(np.int64) @ b.astype(np.int64).T
        rest = None if onto is None else onto.astype(np.int64)
        added = None if noise is None else spread(noise, shift)
        out: Array = wide_rows(total, rest, added, shift=shift, limit=limit).astype(dtype.numpy)
        return out

    def part_sums(self, a: Array, noise: Array | None, *, parts: int, shift: int, limit: int) -> Array:
        """See `pouw.ops.part_sums`."""
        total: NDArray[np.int64] = a.reshape(len(a), -1, parts).sum(axis=2, dtype=np.int64)
        added = None if noise is None else spread(noise, shift)
        out: Array = wide_rows(total, None, added, shift=shift, limit=limit).astype(np.int32)
        return out

    def norm_gradient(
        self, x: Array, errors: Array, onto: Array | None, *, epsilon: int, shift: int
    ) -> Array:
        """See `pouw.ops.norm_gradient`."""
        return norm_gradient_rows(x, errors, onto, epsilon=epsilon, shift=shift)

    def rotary_gradient(self, errors: Array, turns: Array, *, heads: Heads) -> Array:
        """See `pouw.ops.rotary_gradient`."""
        split = errors.reshape(heads.sequences, heads.tokens, heads.queries, heads.dim)
        angles = np.broadcast_to(turns[: heads.tokens, None], split.shape)
        turned = rotary_gradient_rows(split.reshape(-1, heads.dim), angles.reshape(-1, heads.dim))
        return turned.reshape(errors.shape)

    def attention_shares(self, weights: Array, *, heads: Heads) -> Array:
        """See `pouw.ops.attention_shares`."""
        return self.scores_turned(share_rows(weights), heads=heads)

    def attention_errors(
        self, weights: Array, errors: Array, values: Array, *, heads: Heads, shift: int
    ) -> Array:
        """See `pouw.ops.attention_errors`."""
        square = (heads.sequences, heads.queries, heads.tokens)
        w = weights.astype(np.int64).reshape(*square, heads.tokens)
        e = errors.astype(np.int64).reshape(heads.sequences, heads.tokens, heads.queries, heads.dim)
        v = values.astype(np.int64).reshape(*square, heads.dim)
        pulls = e.swapaxes(1, 2) @ v.swapaxes(2, 3)
        return score_error_rows(w, pulls, shift=shift).reshape(weights.shape)

    def heads_product(self, a: Array, b: Array, *, heads: Heads, multiplier: int, shift: int) -> Array:
        """See `pouw.ops.heads_product`."""
        left = a.astype(np.int64).reshape(heads.sequences, heads.queries, heads.tokens, heads.tokens)
        right = b.astype(np.int64).reshape(heads.queries, heads.dim, heads.sequences, heads.tokens)
        total = np.einsum("shtj,hcsj->sthc", left, right)
        scaled = scaled_rows(total, multiplier=multiplier, shift=shift)
        return scaled.reshape(heads.sequences * heads.tokens, -1)

    def heads_turned(self, a: Array, *, heads: Heads, to_channels: bool) -> Array:
        """See `pouw.ops.heads_turned`."""
        if to_channels:
            split = a.reshape(heads.sequences, heads.queries, heads.tokens, heads.dim)
            return split.transpose(1, 3, 0, 2).reshape(heads.queries * heads.dim, -1)
        split = a.reshape(heads.queries, heads.dim, heads.sequences, heads.tokens)
        return split.transpose(2, 0, 3, 1).reshape(-1, heads.dim)

    def scores_turned(self, a: Array, *, heads: Heads) -> Array:
        """See `pouw.ops.heads_turned`."""
        return a.reshape(-1, heads.tokens, heads.tokens).swapaxes(1, 2).reshape(a.shape)

    def gate_gradient(
        self, errors: Array, gate: Array, up: Array | None, *, table: bytes, shift: int
    ) -> Array:
        """See `pouw.ops.gate_gradient`."""
        return gate_gradient_rows(errors, gate, up, table=table, shift=shift)

    def token_gradient(self, logits: Array, tokens: Array, *, length: int) -> Array:
        """See `pouw.ops.next_token`."""
        return token_gradient_rows(logits, _labels(tokens, length))

    def token_loss(self, logits: Array, tokens: Array, *, length: int) -> Array:
        """See `pouw.ops.next_token`."""
        return token_loss_rows(logits, _labels(tokens, length))

    def embedding_gradient(self, tokens: Array, errors: Array, *, rows: int, limit: int) -> Array:
        """See `pouw.ops.embedding_gradient`."""
        out = np.zeros((rows, errors.shape[0]), np.int64)
        places = tokens[:, 0].astype(np.int64)
        known = (places >= 0) & (places < rows)
        np.add.at(out, places[known], errors.astype(np.int64).T[known])
        return clamped(out, limit).astype(np.int32)

    def momentum(self, momentum: Array, gradient: Array, *, decay: int, limit: int) -> Array:
        """See `pouw.ops.lion`."""
        return momentum_rows(momentum, gradient, decay=decay, limit=limit)

    def lion(
        self, master: Array, momentum: Array, gradient: Array, *,
        rate: int, fade: int, keep: int, lift: int, limit: int,
    ) -> Array:  # fmt: skip
        """See `pouw.ops.lion`."""
        return lion_rows(master, momentum, gradient, rate=rate, fade=fade, keep=keep, lift=lift, limit=limit)

    def narrowed(self, a: Array, *, shift: int, limit: int, dtype: DType) -> Array:
        """See `pouw.ops.narrowed`."""
        out: Array = clamped(rounded(a.astype(np.int64), shift), limit).astype(dtype.numpy)
        return out


def _labels(tokens: Array, length: int) -> NDArray[np.int64]:
    """The token after each, -1 at the end of each text."""
    labels = np.roll(tokens[:, 0].astype(np.int64), -1)
    labels[length - 1 :: length] = -1
    return labels
