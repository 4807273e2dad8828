"""The ops of a transformer's training in plain Python integers, one element at a time, from the text."""

from decimal import Decimal, localcontext
from math import isqrt
from typing import Any

import numpy as np

from pouw.arithmetic.heads import Heads
from pouw.tensors import DType
from tests.pouw.plain_training import plain_spread, power
from tests.pouw.plain_transformer import clamp, dot, shifted

I8, I16, I32 = (np.dtype(f"<i{size}") for size in (1, 2, 4))
MOST = 32639


class PlainTransformerTraining:
    """Tensors are pairs of lists of rows and a type."""

    def wide_linear(
        self, a: Any, b: Any, onto: Any, noise: Any, *, shift: int, limit: int, dtype: DType
    ) -> Any:
        out = []
        for i, x in enumerate(a[0]):
            row = []
            for j, y in enumerate(b[0]):
                added = 2**shift // 2 if noise is None else plain_spread(noise[0][i][j], shift)
                value = (dot(x, y) + added) // 2**shift
                row.append(clamp(value + (onto[0][i][j] if onto else 0), limit))
            out.append(row)
        return out, dtype.numpy

    def part_sums(self, a: Any, noise: Any, *, parts: int, shift: int, limit: int) -> Any:
        out = []
        for i, line in enumerate(a[0]):
            row = []
            for j in range(len(line) // parts):
                added = 2**shift // 2 if noise is None else plain_spread(noise[0][i][j], shift)
                row.append(clamp((sum(line[j * parts : (j + 1) * parts]) + added) // 2**shift, limit))
            out.append(row)
        return out, I32

    def norm_gradient(self, x: Any, errors: Any, onto: Any, *, epsilon: int, shift: int) -> Any:
        out = []
        for i, (row, given) in enumerate(zip(x[0], errors[0], strict=True)):
            total, places = dot(row, row) + epsilon, 0
            while total * 4 < 2**62:
                total, places = total * 4, places + 1
            total //= len(row)
            while total * 4 < 2**62:
                total, places = total * 4, places + 1
            inverse = 2**61 // isqrt(total)
            normed = [shifted(value * inverse, 45 - places) for value in row]
            along = half_up(dot(normed, given), len(row))
            across = [e * 256 - shifted(n * along, 24) for n, e in zip(normed, given, strict=True)]
            found = [shifted(value * inverse, 45 - places + shift) for value in across]
            rest = onto[0][i] if onto else [0] * len(row)
            out.append([clamp(value + other, MOST) for value, other in zip(found, rest, strict=True)])
        return out, I16

    def rotary_gradient(self, errors: Any, turns: Any, *, heads: Heads) -> Any:
        out, n = [], heads.dim // 2
        for i, row in enumerate(errors[0]):
            turn, values = turns[0][i % heads.tokens], []
            for h in range(heads.queries):
                x = row[h * heads.dim :][: heads.dim]
                first = [x[c] * turn[c] + x[c + n] * turn[c + n] for c in range(n)]
                second = [x[c + n] * turn[c] - x[c] * turn[c + n] for c in range(n)]
                values += [clamp(shifted(value, 14), MOST) for value in first + second]
            out.append(values)
        return out, I16

    def attention_shares(self, weights: Any, *, heads: Heads) -> Any:
        shares = [[min(half_up(w << 15, max(sum(row), 1)), 32767) for w in row] for row in weights[0]]
        return self.scores_turned((shares, I16), heads=heads)

    def attention_errors(self, weights: Any, errors: Any, values: Any, *, heads: Heads, shift: int) -> Any:
        out = []
        for i, row in enumerate(weights[0]):
            sequence, head, token = heads.query(i)
            error = errors[0][sequence * heads.tokens + token][head * heads.dim :][: heads.dim]
            pulls = [dot(error, v) for v in values[0][i - token :][: heads.tokens]]
            total = max(sum(row), 1)
            centre = half_up(dot(row, pulls), total)
            out.append(
                [
                    clamp(half_up(w * (pull - centre), total * 2**shift), MOST)
                    for w, pull in zip(row, pulls, strict=True)
                ]
            )
        return out, I16

    def heads_product(self, a: Any, b: Any, *, heads: Heads, multiplier: int, shift: int) -> Any:
        out = []
        for s in range(heads.sequences):
            for t in range(heads.tokens):
                row = []
                for h in range(heads.queries):
                    left = a[0][(s * heads.queries + h) * heads.tokens + t]
                    for c in range(heads.dim):
                        right = b[0][h * heads.dim + c][s * heads.tokens :][: heads.tokens]
                        row.append(clamp(shifted(dot(left, right) * multiplier, shift), MOST))
                out.append(row)
        return out, I16

    def heads_turned(self, a: Any, *, heads: Heads, to_channels: bool) -> Any:
        rows, (s, h, t, d) = a[0], (heads.sequences, heads.queries, heads.tokens, heads.dim)
        if to_channels:
            return [
                [rows[(i * h + g) * t + j][c] for i in range(s) for j in range(t)]
                for g in range(h)
                for c in range(d)
            ], a[1]
        return [
            [rows[g * d + c][i * t + j] for c in range(d)]
            for i in range(s)
            for g in range(h)
            for j in range(t)
        ], a[1]

    def scores_turned(self, a: Any, *, heads: Heads) -> Any:
        rows, out = a[0], []
        for first in range(0, len(rows), heads.tokens):
            block = rows[first : first + heads.tokens]
            out += [[row[j] for row in block] for j in range(heads.tokens)]
        return out, a[1]

    def gate_gradient(self, errors: Any, gate: Any, up: Any, *, table: bytes, shift: int) -> Any:
        out = []
        for i, row in enumerate(errors[0]):
            values = []
            for j, error in enumerate(row):
                place = 2 * (gate[0][i][j] + 128)
                entry = int.from_bytes(table[place : place + 2], "little", signed=True)
                factor = up[0][i][j] if up else 1
                values.append(clamp(shifted(error * entry * factor, shift), MOST))
            out.append(values)
        return out, I16

    def token_gradient(self, logits: Any, tokens: Any, *, length: int) -> Any:
        out = []
        for i, row in enumerate(logits[0]):
            if i % length == length - 1 or tokens[0][i + 1][0] < 0:
                out.append([0] * len(row))
                continue
            shares, label = powers(row), tokens[0][i + 1][0]
            chances = [half_up(x << 15, sum(shares)) for x in shares]
            out.append([clamp(p - (2**15 if j == label else 0), MOST) for j, p in enumerate(chances)])
        return out, I16

    def token_loss(self, logits: Any, tokens: Any, *, length: int) -> Any:
        out = []
        for i, row in enumerate(logits[0]):
            if i % length == length - 1 or tokens[0][i + 1][0] < 0:
                out.append([0])
                continue
            label = min(tokens[0][i + 1][0], len(row) - 1)
            total = sum(powers(row))
            exponent = total.bit_length() - 1
            lead = total >> (exponent - 11)
            value = (exponent - 30) * nats(Decimal(2)) + nats(Decimal(2 * lead + 1) / 2**12)
            out.append([value + 64 * (max(row) - row[label])])
        return out, I32

    def embedding_gradient(self, tokens: Any, errors: Any, *, rows: int, limit: int) -> Any:
        places = [token for (token,) in tokens[0]]
        return [
            [
                clamp(sum(e for e, place in zip(channel, places, strict=True) if place == v), limit)
                for channel in errors[0]
            ]
            for v in range(rows)
        ], I32

    def momentum(self, momentum: Any, gradient: Any, *, decay: int, limit: int) -> Any:
        return [
            [clamp(m - shifted(m, decay) + g, limit) for m, g in zip(*pair, strict=True)]
            for pair in zip(momentum[0], gradient[0], strict=True)
        ], I32

    def lion(
        self, master: Any, momentum: Any, gradient: Any, *,
        rate: int, fade: int, keep: int, lift: int, limit: int,
    ) -> Any:  # fmt: skip
        out = []
        for rows in zip(master[0], momentum[0], gradient[0], strict=True):
            row = []
            for w, m, g in zip(*rows, strict=True):
                lean = keep * m + g * 2**lift
                sign = (lean > 0) - (lean < 0)
                row.append(clamp(w - rate * sign - shifted(w * rate, fade), limit))
            out.append(row)
        return out, I32

    def narrowed(self, a: Any, *, shift: int, limit: int, dtype: DType) -> Any:
        return [[clamp(shifted(x, shift), limit) for x in row] for row in a[0]], dtype.numpy


def half_up(value: int, by: int) -> int:
    return (2 * value + by) // (2 * by)


def powers(logits: list[int]) -> list[int]:
    below = [min(max(logits) - x, 16 * 1024 - 1) for x in logits]
    return [power(x // 1024, 1) * power(x % 1024, 1024) // 2**30 for x in below]


def nats(ratio: Decimal) -> int:
    with localcontext() as context:
        context.prec = 30
        return int((ratio.ln() * 2**16).to_integral_value())
