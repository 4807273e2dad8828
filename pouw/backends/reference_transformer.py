"""The reference backend's part for transformers: numpy, one row after another where that is simplest."""

import numpy as np
from numpy.typing import NDArray

from pouw.arithmetic.heads import Heads
from pouw.arithmetic.transformer_rows import (
    gate_rows,
    linear_rows,
    mix_values,
    norm_rows,
    rotary_rows,
    weight_row,
)
from pouw.tensors import Array, DType


class ReferenceTransformer:
    """See `pouw.backends.transformer.TransformerOps`; tensors are host arrays."""

    def linear(
        self, a: Array, b: Array, scale: Array, residual: Array | None, *,
        by_row: bool, shift: int, limit: int, dtype: DType,
    ) -> Array:  # fmt: skip
        """See `pouw.ops.linear`."""
        total: NDArray[np.int32] = a.astype(np.int32) @ b.astype(np.int32).T
        scales = scale.astype(np.int64) if by_row else scale.astype(np.int64).T
        rest = None if residual is None else residual.astype(np.int64)
        out: Array = linear_rows(total.astype(np.int64), scales, rest, shift=shift, limit=limit).astype(
            dtype.numpy
        )
        return out

    def row_norm(self, x: Array, gain: Array, *, epsilon: int, shift: int) -> Array:
        """See `pouw.ops.row_norm`."""
        return norm_rows(x, gain, epsilon=epsilon, shift=shift)

    def rotary(self, x: Array, turns: Array, *, heads: Heads, shift: int, by_head: bool) -> Array:
        """See `pouw.ops.rotary`."""
        split = x.reshape(heads.sequences, heads.tokens, heads.queries, heads.dim).swapaxes(1, 2)
        angles = np.tile(turns[heads.past : heads.span], (heads.sequences * heads.queries, 1))
        turned = rotary_rows(split.reshape(-1, heads.dim), angles, shift=shift)
        return turned if by_head else turned.reshape(split.shape).swapaxes(1, 2).reshape(x.shape)

    def attention_weights(
        self, queries: Array, keys: Array, *, heads: Heads, multiplier: int, shift: int
    ) -> Array:
        """See `pouw.ops.attention_weights`."""
        out = np.zeros((queries.shape[0] * heads.queries, heads.span), np.int8)
        split = queries.reshape(heads.sequences, heads.tokens, heads.queries, heads.dim)
        for row in range(len(out)):
            sequence, head, token = heads.query(row)
            query = split[sequence, token, head]
            first, count = heads.first_key(sequence, head), heads.past + token + 1
            out[row, :count] = weight_row(
                query, keys[first : first + count], multiplier=multiplier, shift=shift
            )
        return out

    def attention_mix(self, weights: Array, values: Array, *, heads: Heads, gain: int) -> Array:
        """See `pouw.ops.attention_mix`."""
        shape = (heads.sequences, heads.keys, heads.group, heads.tokens, heads.span)
        w = weights.astype(np.int64).reshape(shape)
        v = values.astype(np.int64).reshape(heads.keys, heads.dim, heads.sequences, heads.span)
        total = np.einsum("sgqtj,gcsj->stgqc", w, v)
        sums = np.einsum("sgqtj->stgq", w)[..., None]
        return mix_values(total, sums, gain=gain).reshape(heads.sequences * heads.tokens, -1)

    def gate(self, gate: Array, up: Array, *, table: bytes, shift: int) -> Array:
        """See `pouw.ops.gate`."""
        return gate_rows(gate, up, table=table, shift=shift)

    def gather(self, index: Array, table: Array, *, lift: int, dtype: DType) -> Array:
        """See `pouw.ops.gather`."""
        rows = np.clip(index[:, 0].astype(np.int64), 0, table.shape[0] - 1)
        out: Array = (table[rows].astype(np.int64) << lift).astype(dtype.numpy)
        return out

    def append(self, old: Array, new: Array, *, blocks: int, by_col: bool) -> Array:
        """See `pouw.ops.append`."""
        if by_col:
            return self.append(old.T, new.T, blocks=blocks, by_col=False).T
        parts = [part.reshape(blocks, -1, part.shape[1]) for part in (old, new)]
        return np.concatenate(parts, axis=1).reshape(-1, old.shape[1])

    def last_rows(self, x: Array, *, blocks: int, keep: int) -> Array:
        """See `pouw.ops.last_rows`."""
        return x.reshape(blocks, -1, x.shape[1])[:, -keep:].reshape(blocks * keep, -1)
