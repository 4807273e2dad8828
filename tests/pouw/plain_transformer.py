"""The transformer ops of the plain backend: Python integers, one element at a time, written from the text."""

from math import isqrt
from typing import Any

import numpy as np

from pouw.arithmetic.generator import random_bytes
from pouw.arithmetic.heads import Heads
from pouw.arithmetic.tables import attention_weights, powers_of_two
from pouw.tensors import DType


def clamp(value: int, limit: int = 127) -> int:
    return min(max(value, -limit), limit)


def shifted(value: int, shift: int) -> int:
    return (value + (2**shift) // 2) // 2**shift


def dot(x: list[int], y: list[int]) -> int:
    return sum(a * b for a, b in zip(x, y, strict=True))


I8 = np.dtype("i1")


class PlainTransformer:
    """Tensors are pairs of lists of rows and a type."""

    def linear(
        self, a: Any, b: Any, scale: Any, residual: Any, *, by_row: bool, shift: int, limit: int, dtype: DType
    ) -> Any:
        out = []
        for i, x in enumerate(a[0]):
            row = []
            for j, y in enumerate(b[0]):
                value = shifted(dot(x, y) * scale[0][i if by_row else j][0], shift)
                row.append(clamp(value + (residual[0][i][j] if residual else 0), limit))
            out.append(row)
        return out, dtype.numpy

    def row_norm(self, x: Any, gain: Any, *, epsilon: int, shift: int) -> Any:
        return [self._norm(row, gain[0][0], epsilon, shift) for row in x[0]], I8

    def _norm(self, row: list[int], gain: list[int], epsilon: int, shift: int) -> list[int]:
        total, places = dot(row, row) + epsilon, 0
        while total * 4 < 2**62:
            total, places = total * 4, places + 1
        total //= len(row)
        while total * 4 < 2**62:
            total, places = total * 4, places + 1
        inverse = 2**61 // isqrt(total)
        normed = [shifted(value * inverse, 45 - places) for value in row]
        return [clamp(shifted(value * factor, shift)) for value, factor in zip(normed, gain, strict=True)]

    def rotary(self, x: Any, turns: Any, *, heads: Heads, shift: int, by_head: bool) -> Any:
        tokens = [
            [self._turn(row[h * heads.dim :][: heads.dim], turns[0][heads.past + i % heads.tokens], shift)
             for h in range(heads.queries)]
            for i, row in enumerate(x[0])
        ]  # fmt: skip
        if not by_head:
            return [[value for head in row for value in head] for row in tokens], I8
        out = []
        for s in range(heads.sequences):
            for h in range(heads.queries):
                out += [tokens[s * heads.tokens + t][h] for t in range(heads.tokens)]
        return out, I8

    def _turn(self, x: list[int], turn: list[int], shift: int) -> list[int]:
        n = len(x) // 2
        first = [x[i] * turn[i] - x[i + n] * turn[i + n] for i in range(n)]
        second = [x[i] * turn[i + n] + x[i + n] * turn[i] for i in range(n)]
        return [clamp(shifted(value, shift)) for value in first + second]

    def attention_weights(self, queries: Any, keys: Any, *, heads: Heads, multiplier: int, shift: int) -> Any:
        table, out = attention_weights().tolist(), []
        for s in range(heads.sequences):
            for h in range(heads.queries):
                for t in range(heads.tokens):
                    query = queries[0][s * heads.tokens + t][h * heads.dim :][: heads.dim]
                    first = (s * heads.keys + h // heads.group) * heads.span
                    scores = [dot(query, key) for key in keys[0][first:][: heads.past + t + 1]]
                    steps = [shifted((max(scores) - score) * multiplier, shift) for score in scores]
                    row = [table[step] if step < 2048 else 0 for step in steps]
                    out.append(row + [0] * (heads.span - len(row)))
        return out, I8

    def attention_mix(self, weights: Any, values: Any, *, heads: Heads, gain: int) -> Any:
        out = []
        for s in range(heads.sequences):
            for t in range(heads.tokens):
                row = []
                for h in range(heads.queries):
                    w = weights[0][(s * heads.queries + h) * heads.tokens + t]
                    for c in range(heads.dim):
                        v = values[0][h // heads.group * heads.dim + c][s * heads.span :][: heads.span]
                        # Half a unit is added before the division, in units of 512 sums.
                        row.append(clamp((2 * dot(w, v) * gain + 256 * sum(w)) // (512 * sum(w))))
                out.append(row)
        return out, I8

    def gate(self, gate: Any, up: Any, *, table: bytes, shift: int) -> Any:
        entries = [int.from_bytes(table[i : i + 2], "little", signed=True) for i in range(0, 512, 2)]
        return [
            [clamp(shifted(entries[g + 128] * u, shift)) for g, u in zip(*rows, strict=True)]
            for rows in zip(gate[0], up[0], strict=True)
        ], I8

    def gather(self, index: Any, table: Any, *, lift: int, dtype: DType) -> Any:
        last = len(table[0]) - 1
        rows = [table[0][sorted((0, i, last))[1]] for (i,) in index[0]]
        return [[value * 2**lift for value in row] for row in rows], dtype.numpy

    def append(self, old: Any, new: Any, *, blocks: int, by_col: bool) -> Any:
        assert blocks == 1
        if by_col:
            return [a + b for a, b in zip(old[0], new[0], strict=True)], old[1]
        return old[0] + new[0], old[1]

    def last_rows(self, x: Any, *, blocks: int, keep: int) -> Any:
        assert blocks == 1
        return x[0][len(x[0]) - keep :], x[1]


def plain_token(logits: list[int], *, multiplier: int, shift: int, seed: bytes, position: int) -> int:
    """`transformer_rows.draw_token` from all tokens."""
    powers = powers_of_two().tolist()
    steps = [shifted((max(logits) - value) * multiplier, shift) for value in logits]
    shares = [powers[step % 256] // 2 ** (step // 256) if step < 31 * 256 else 0 for step in steps]
    word = int.from_bytes(random_bytes(seed, path=(position,), count=8), "little") % sum(shares)
    token = 0
    while word >= shares[token]:
        word -= shares[token]
        token += 1
    return token
