"""The CPU backend's part for transformers with compiled loops after torch's products."""

from functools import partial
from typing import Final

import numpy as np
import torch

from pouw.arithmetic.heads import Heads
from pouw.arithmetic.tables import attention_weights
from pouw.arithmetic.transformer_rows import NORM_BITS, ROOT_SUM_MAX
from pouw.backends.cpu_transformer import CpuTransformer
from pouw.backends.host import host
from pouw.backends.parallel import in_stretches
from pouw.backends.products import product_in_stretches
from pouw.backends.torch_tensors import TORCH_TYPES, Multiply
from pouw.kernels.attention import mix_rows, weigh_rows
from pouw.kernels.products import scale_rows
from pouw.kernels.rows import gate_rows, norm_rows, turn_rows
from pouw.tensors import DType

_QUERIES: Final = 128
"""Queries whose scores are computed at a time: keys that come after all of them are left out."""


class CompiledTransformer(CpuTransformer):
    """See `pouw.backends.transformer.TransformerOps`; what is not here is torch's.

    Args:
        multiply: how int8 matrices are multiplied on this machine.
        threads: how many may run.
    """

    def __init__(self, multiply: Multiply, threads: int) -> None:
        super().__init__(multiply)
        self._threads = threads
        self._weights = attention_weights().astype(np.int32)

    def linear(
        self, a: torch.Tensor, b: torch.Tensor, scale: torch.Tensor, residual: torch.Tensor | None, *,
        by_row: bool, shift: int, limit: int, dtype: DType,
    ) -> torch.Tensor:  # fmt: skip
        """See `pouw.ops.linear`."""
        out = torch.empty((a.shape[0], b.shape[0]), dtype=TORCH_TYPES[dtype])
        factors, there = host(scale).reshape(-1), host(out)
        rest = there if residual is None else host(residual)

        def scaled(total: torch.Tensor, column: int) -> None:
            with_residual = residual is not None
            scale_rows(host(total), factors, by_row, rest, with_residual, shift, limit, there, column)

        product_in_stretches(self._multiply, a, b, scaled, threads=self._threads)
        return out

    def row_norm(self, x: torch.Tensor, gain: torch.Tensor, *, epsilon: int, shift: int) -> torch.Tensor:
        """See `pouw.ops.row_norm`."""
        out = torch.empty(x.shape, dtype=torch.int8)
        gains = host(gain).reshape(-1)
        some = partial(norm_rows, host(x), gains, epsilon, shift, ROOT_SUM_MAX, NORM_BITS, host(out))
        in_stretches(some, x.shape[0], values=x.numel(), threads=self._threads)
        return out

    def rotary(
        self, x: torch.Tensor, turns: torch.Tensor, *, heads: Heads, shift: int, by_head: bool
    ) -> torch.Tensor:
        """See `pouw.ops.rotary`."""
        out = torch.empty((x.numel() // heads.dim, heads.dim) if by_head else x.shape, dtype=torch.int8)
        layout = (heads.past, heads.tokens, heads.queries)
        some = partial(turn_rows, host(x), host(turns), *layout, shift, by_head, host(out))
        in_stretches(some, x.shape[0], values=x.numel(), threads=self._threads)
        return out

    def attention_weights(
        self, queries: torch.Tensor, keys: torch.Tensor, *, heads: Heads, multiplier: int, shift: int
    ) -> torch.Tensor:
        """See `pouw.ops.attention_weights`."""
        q = queries.view(heads.sequences, heads.tokens, heads.queries, heads.dim).transpose(1, 2)
        q = q.reshape(-1, heads.tokens, heads.dim)
        k = keys.view(-1, heads.span, heads.dim)
        out = torch.empty(q.shape[0], heads.tokens, heads.span, dtype=torch.int8)

        def some(start: int, stop: int) -> None:
            for head in range(start, stop):
                self._weigh(q[head], k[head // heads.group], out[head], heads.past, multiplier, shift)

        work = q.shape[0] * heads.tokens * heads.span
        in_stretches(some, q.shape[0], values=work, threads=self._threads)
        return out.view(-1, heads.span)

    def _weigh(
        self, q: torch.Tensor, k: torch.Tensor, out: torch.Tensor, past: int, multiplier: int, shift: int
    ) -> None:
        """One head: q[tokens,dim], k[span,dim], out[tokens,span]."""
        for first in range(0, len(q), _QUERIES):
            some = q[first : first + _QUERIES]
            visible = past + first + 1
            scores = self._multiply(some, k[: visible + len(some) - 1])
            here = host(out[first : first + _QUERIES])
            weigh_rows(host(scores), visible, multiplier, shift, self._weights, here, 0, len(some))

    def attention_mix(
        self, weights: torch.Tensor, values: torch.Tensor, *, heads: Heads, gain: int
    ) -> torch.Tensor:
        """See `pouw.ops.attention_mix`."""
        w = weights.view(-1, heads.tokens, heads.span)
        v = values.view(heads.keys, heads.dim, heads.sequences, heads.span)
        out = torch.empty(heads.sequences, heads.tokens, heads.queries * heads.dim, dtype=torch.int8)

        def some(start: int, stop: int) -> None:
            for place in range(start, stop):
                sequence, head = divmod(place, heads.queries)
                total = self._multiply(w[place], v[head // heads.group, :, sequence])
                column = head * heads.dim
                mix_rows(host(total), host(w[place]), gain, host(out[sequence]), column, 0, heads.tokens)

        in_stretches(some, len(w), values=w.numel(), threads=self._threads)
        return out.view(heads.sequences * heads.tokens, -1)

    def gate(self, gate: torch.Tensor, up: torch.Tensor, *, table: bytes, shift: int) -> torch.Tensor:
        """See `pouw.ops.gate`."""
        out = torch.empty(gate.shape, dtype=torch.int8)
        entries = np.frombuffer(table, "<i2").astype(np.int32)
        some = partial(gate_rows, host(gate), host(up), entries, shift, host(out))
        in_stretches(some, gate.shape[0], values=gate.numel(), threads=self._threads)
        return out
