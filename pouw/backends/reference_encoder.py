"""The reference backend's part for encoders: numpy, and the definition."""

import numpy as np
from numpy.typing import NDArray

from pouw.arithmetic.encoder_rows import affine_rows, layer_norm_rows, looked_up, mean_of
from pouw.arithmetic.heads import Heads
from pouw.arithmetic.transformer_rows import weight_row
from pouw.tensors import Array, DType


class ReferenceEncoder:
    """See `pouw.backends.encoder.EncoderOps`; tensors are host arrays."""

    def affine(
        self, a: Array, b: Array, scale: Array, bias: Array, residual: Array | None, *,
        by_row: bool, shift: int, limit: int, dtype: DType, table: bytes,
    ) -> Array:  # fmt: skip
        """See `pouw.ops.affine`."""
        total: NDArray[np.int32] = a.astype(np.int32) @ b.astype(np.int32).T
        scales, biases = (
            part.astype(np.int64) if by_row else part.astype(np.int64).T for part in (scale, bias)
        )
        rest = None if residual is None else residual.astype(np.int64)
        value = affine_rows(total.astype(np.int64) + biases, scales, rest, shift=shift, limit=limit)
        out: Array = looked_up(value, table) if table else value.astype(dtype.numpy)
        return out

    def layer_norm(
        self, x: Array, gain: Array, bias: Array, *,
        epsilon: int, shift: int, lift: int, limit: int, dtype: DType,
    ) -> Array:  # fmt: skip
        """See `pouw.ops.layer_norm`."""
        value = layer_norm_rows(x, gain, bias, epsilon=epsilon, shift=shift, lift=lift, limit=limit)
        out: Array = value.astype(dtype.numpy)
        return out

    def attention_weights(
        self, queries: Array, keys: Array, *,
        heads: Heads, lengths: tuple[int, ...], multiplier: int, shift: int,
    ) -> Array:  # fmt: skip
        """See `pouw.ops.attention_weights`."""
        out = np.zeros((queries.shape[0] * heads.queries, heads.span), np.int8)
        split = queries.reshape(heads.sequences, heads.tokens, heads.queries, heads.dim)
        for row in range(len(out)):
            sequence, head, token = heads.query(row)
            first, count = heads.first_key(sequence, head), lengths[sequence]
            visible = keys[first : first + count]
            out[row, :count] = weight_row(
                split[sequence, token, head], visible, multiplier=multiplier, shift=shift
            )
        return out

    def positions(self, x: Array, table: Array, *, places: tuple[int, ...], lift: int) -> Array:
        """See `EncoderOps.positions`."""
        out: Array = (x.astype(np.int64) + (table[list(places)].astype(np.int64) << lift)).astype(x.dtype)
        return out

    def split_heads(self, x: Array, *, heads: Heads) -> Array:
        """See `pouw.ops.split_heads`."""
        split = x.reshape(heads.sequences, heads.tokens, heads.queries, heads.dim)
        return split.swapaxes(1, 2).reshape(-1, heads.dim)

    def mean_pool(self, x: Array, *, tokens: int, lengths: tuple[int, ...]) -> Array:
        """See `pouw.ops.mean_pool`."""
        parts = x.astype(np.int64).reshape(len(x), len(lengths), tokens)
        totals = np.stack([parts[:, s, :length].sum(axis=1) for s, length in enumerate(lengths)], axis=1)
        out: Array = mean_of(totals, np.array(lengths, np.int64)).astype(x.dtype)
        return out

    def first_rows(self, x: Array, *, blocks: int) -> Array:
        """See `pouw.ops.first_rows`."""
        return x[:: len(x) // blocks]
