"""What training needs, in plain Python integers: the reference is tested against it."""

from collections.abc import Sequence
from decimal import Decimal, localcontext
from typing import Any

import numpy as np

from pouw.tensors import DType

I8, I16, I32 = (np.dtype(f"<i{size}") for size in (1, 2, 4))


class PlainTraining:
    """Tensors are pairs of a list of lists of int and the columns' type."""

    def columns(self, a: Any, *, start: int, count: int) -> Any:
        return [row[start : start + count] for row in a[0]], a[1]

    def transpose(self, a: Any) -> Any:
        return [list(column) for column in zip(*a[0], strict=True)], a[1]

    def total(self, tensors: Sequence[Any]) -> Any:
        first, *others = (rows for rows, _ in tensors)
        return [
            [sum(cell) for cell in zip(*rows, strict=True)] for rows in zip(first, *others, strict=True)
        ], I32

    def interleaved(self, tensors: Sequence[Any]) -> Any:
        rows = zip(*(rows for rows, _ in tensors), strict=True)
        return [[x for cell in zip(*row, strict=True) for x in cell] for row in rows], I32

    def rounded(self, a: Any, *, shift: int, low: int, high: int, dtype: DType) -> Any:
        return [[clamp(round_half_up(x, shift), low, high) for x in row] for row in a[0]], dtype.numpy

    def stochastic(self, a: Any, noise: Any, *, gate: Any | None, start: int, shift: int) -> Any:
        rows = []
        for i, row in enumerate(a[0]):
            added = [plain_spread(noise[0][i][start + j], shift) for j in range(len(row))]
            out = [clamp((x + y) // 2**shift, -127, 127) for x, y in zip(row, added, strict=True)]
            if gate is not None:
                out = [x if 1 <= g <= 126 else 0 for x, g in zip(out, gate[0][i], strict=True)]
            rows.append(out)
        return rows, I8

    def loss_gradient(self, logits: Any, labels: Any, *, label: int, scale: int) -> Any:
        rows = []
        for row, told in zip(logits[0], labels[0], strict=True):
            below = [min((max(row) - x) // 2 ** (scale - 10), 16 * 1024 - 1) for x in row]
            shares = [power(x // 1024, 1) * power(x % 1024, 1024) // 2**30 for x in below]
            total = sum(shares)
            chances = [(x * 2**14 + total // 2) // total for x in shares]
            rows.append([p - (2**14 if j == told[label] else 0) for j, p in enumerate(chances)])
        return rows, I16

    def velocity(
        self, speed: Any, gradient: Any, noise: Any, *, shift: int, friction: int, limit: int
    ) -> Any:
        rows = [
            [
                clamp(
                    v - round_half_up(v, friction) + (g + plain_spread(n, shift)) // 2**shift, -limit, limit
                )
                for v, g, n in zip(*triple, strict=True)
            ]
            for triple in zip(speed[0], gradient[0], noise[0], strict=True)
        ]
        return rows, I32

    def descend(self, master: Any, speed: Any, *, limit: int) -> Any:
        rows = zip(master[0], speed[0], strict=True)
        return [[clamp(w - v, -limit, limit) for w, v in zip(*pair, strict=True)] for pair in rows], I32


def clamp(x: int, low: int, high: int) -> int:
    return sorted((low, x, high))[1]


def round_half_up(x: int, shift: int) -> int:
    return (x + (1 << shift) // 2) // (1 << shift)


def plain_spread(noise: int, shift: int) -> int:
    u = noise + 128
    return u // (1 << 8 - shift) if shift <= 8 else u * (1 << shift - 8) + (1 << shift - 9)


def power(steps: int, per_unit: int) -> int:
    with localcontext() as context:
        context.prec = 30
        return int(((-Decimal(steps) / per_unit).exp() * 2**30).to_integral_value())
