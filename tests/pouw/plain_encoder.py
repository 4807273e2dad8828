"""The encoder ops of the plain backend: Python integers, one element at a time, written from the text."""

from math import isqrt
from typing import Any

from pouw.arithmetic.heads import Heads
from pouw.arithmetic.tables import attention_weights
from pouw.tensors import DType
from tests.pouw.plain_transformer import I8, clamp, dot, shifted


class PlainEncoder:
    """Tensors are pairs of lists of rows and a type."""

    def affine(
        self, a: Any, b: Any, scale: Any, bias: Any, residual: Any, *,
        by_row: bool, shift: int, limit: int, dtype: DType, table: bytes,
    ) -> Any:  # fmt: skip
        out = []
        for i, x in enumerate(a[0]):
            row = []
            for j, y in enumerate(b[0]):
                channel = i if by_row else j
                value = shifted((dot(x, y) + bias[0][channel][0]) * scale[0][channel][0], shift)
                value = clamp(value + (residual[0][i][j] if residual else 0), limit)
                if table:
                    entry = table[value + len(table) // 2]
                    value = entry - 256 if entry > 127 else entry
                row.append(value)
            out.append(row)
        return out, dtype.numpy

    def layer_norm(
        self, x: Any, gain: Any, bias: Any, *, epsilon: int, shift: int, lift: int, limit: int, dtype: DType
    ) -> Any:
        out = []
        for row in x[0]:
            mean = (2 * sum(row) + len(row)) // (2 * len(row))
            away = [value - mean for value in row]
            total, places = dot(away, away) + epsilon, 0
            while total * 4 < 2**62:
                total, places = total * 4, places + 1
            total //= len(row)
            while total * 4 < 2**62:
                total, places = total * 4, places + 1
            inverse = 2**61 // isqrt(total)
            normed = [shifted(value * inverse, 45 - places) for value in away]
            terms = zip(normed, gain[0][0], bias[0][0], strict=True)
            out.append([clamp(shifted(n * g + b * 2**lift, shift), limit) for n, g, b in terms])
        return out, dtype.numpy

    def attention_weights(
        self, queries: Any, keys: Any, *, heads: Heads, lengths: tuple[int, ...], multiplier: int, shift: int
    ) -> Any:
        table, out = attention_weights().tolist(), []
        for s in range(heads.sequences):
            for h in range(heads.queries):
                for t in range(heads.tokens):
                    query = queries[0][s * heads.tokens + t][h * heads.dim :][: heads.dim]
                    first = (s * heads.keys + h // heads.group) * heads.span
                    scores = [dot(query, key) for key in keys[0][first:][: lengths[s]]]
                    steps = [shifted((max(scores) - score) * multiplier, shift) for score in scores]
                    row = [table[step] if step < 2048 else 0 for step in steps]
                    out.append(row + [0] * (heads.span - len(row)))
        return out, I8

    def positions(self, x: Any, table: Any, *, places: tuple[int, ...], lift: int) -> Any:
        rows = zip(x[0], places, strict=True)
        return [[v + w * 2**lift for v, w in zip(row, table[0][p], strict=True)] for row, p in rows], x[1]

    def split_heads(self, x: Any, *, heads: Heads) -> Any:
        out = []
        for s in range(heads.sequences):
            for h in range(heads.queries):
                rows = x[0][s * heads.tokens : (s + 1) * heads.tokens]
                out += [row[h * heads.dim : (h + 1) * heads.dim] for row in rows]
        return out, x[1]

    def mean_pool(self, x: Any, *, tokens: int, lengths: tuple[int, ...]) -> Any:
        out = []
        for row in x[0]:
            sums = [sum(row[s * tokens :][:length]) for s, length in enumerate(lengths)]
            out.append([(2 * sum_ + n) // (2 * n) for sum_, n in zip(sums, lengths, strict=True)])
        return out, x[1]

    def first_rows(self, x: Any, *, blocks: int) -> Any:
        return x[0][:: len(x[0]) // blocks], x[1]
