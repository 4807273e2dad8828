"""The GPU backend's part for transformers."""

from typing import Final

import numpy as np
import torch

from pouw.arithmetic.fixed import half
from pouw.arithmetic.heads import Heads
from pouw.arithmetic.tables import WEIGHT_STEPS, attention_weights
from pouw.arithmetic.transformer_rows import NORM_BITS, ROOT_SUM_MAX
from pouw.backends import triton_attention, triton_products, triton_rows
from pouw.backends.cpu_transformer import CpuTransformer
from pouw.backends.torch_tensors import TORCH_TYPES, Multiply, table_on
from pouw.backends.triton_kernel import BLOCK, blocks_of, launch
from pouw.tensors import DType

_QUERIES: Final = 32
_KEYS: Final = 64
_DEPTH: Final = 32
"""What tensor cores multiply at least; narrower heads are filled up with zeros."""


class CudaTransformer(CpuTransformer):
    """See `pouw.backends.transformer.TransformerOps`; what only moves numbers is torch's on any device.

    Args:
        multiply: gives products that may be larger than asked for; see `padded_product`.
        device: where tensors lie.
    """

    def __init__(self, multiply: Multiply, device: torch.device) -> None:
        super().__init__(multiply)
        self._device = device
        self._table = table_on(device, attention_weights())

    def linear(
        self, a: torch.Tensor, b: torch.Tensor, scale: torch.Tensor, residual: torch.Tensor | None, *,
        by_row: bool, shift: int, limit: int, dtype: DType,
    ) -> torch.Tensor:  # fmt: skip
        """See `pouw.ops.linear`."""
        total = self._multiply(a, b)
        out = torch.empty((a.shape[0], b.shape[0]), dtype=TORCH_TYPES[dtype], device=self._device)
        launch(
            triton_products.scale, blocks_of(out.numel()), total, scale.contiguous(),
            out if residual is None else residual.contiguous(), out, out.numel(), out.shape[1],
            total.stride(0), half(shift), shift, limit,
            by_row=by_row, with_residual=residual is not None, block=BLOCK,
        )  # fmt: skip
        return out

    def row_norm(self, x: torch.Tensor, gain: torch.Tensor, *, epsilon: int, shift: int) -> torch.Tensor:
        """See `pouw.ops.row_norm`."""
        out = torch.empty(x.shape, dtype=torch.int8, device=self._device)
        launch(
            triton_rows.norm, x.shape[0], x.contiguous(), gain.contiguous(), out, x.shape[1], epsilon,
            ROOT_SUM_MAX, half(shift), shift, bits=NORM_BITS, block=BLOCK,
        )  # fmt: skip
        return out

    def rotary(
        self, x: torch.Tensor, turns: torch.Tensor, *, heads: Heads, shift: int, by_head: bool
    ) -> torch.Tensor:
        """See `pouw.ops.rotary`."""
        shape = (x.numel() // heads.dim, heads.dim) if by_head else tuple(x.shape)
        out = torch.empty(shape, dtype=torch.int8, device=self._device)
        launch(
            triton_rows.turn, blocks_of(x.numel()), x.contiguous(), turns.contiguous(), out, x.numel(),
            heads.past, heads.tokens, heads.queries, heads.dim, half(shift), shift,
            by_head=by_head, block=BLOCK,
        )  # fmt: skip
        return out

    def attention_weights(
        self, queries: torch.Tensor, keys: torch.Tensor, *, heads: Heads, multiplier: int, shift: int
    ) -> torch.Tensor:
        """See `pouw.ops.attention_weights`."""
        places = heads.sequences * heads.queries
        out = torch.empty((places * heads.tokens, heads.span), dtype=torch.int8, device=self._device)
        launch(
            triton_attention.weigh, places * -(-heads.tokens // _QUERIES), queries.contiguous(),
            keys.contiguous(), self._table, out, heads.past, heads.tokens, heads.queries, heads.group,
            heads.dim, multiplier, half(shift), shift, WEIGHT_STEPS - 1,
            deep=_deep(heads.dim), rows=_QUERIES, some=_KEYS,
        )  # fmt: skip
        return out

    def attention_mix(
        self, weights: torch.Tensor, values: torch.Tensor, *, heads: Heads, gain: int
    ) -> torch.Tensor:
        """See `pouw.ops.attention_mix`."""
        shape = (heads.sequences * heads.tokens, heads.queries * heads.dim)
        out = torch.empty(shape, dtype=torch.int8, device=self._device)
        launch(
            triton_attention.mix, heads.sequences * heads.queries * -(-heads.tokens // _QUERIES),
            weights.contiguous(), values.contiguous(), out, heads.sequences, heads.tokens, heads.span,
            heads.queries, heads.group, heads.dim, gain,
            deep=_deep(heads.dim), rows=_QUERIES, some=_KEYS,
        )  # fmt: skip
        return out

    def gate(self, gate: torch.Tensor, up: torch.Tensor, *, table: bytes, shift: int) -> torch.Tensor:
        """See `pouw.ops.gate`."""
        out = torch.empty(gate.shape, dtype=torch.int8, device=self._device)
        entries = table_on(self._device, np.frombuffer(table, "<i2"))
        launch(
            triton_rows.gate, blocks_of(out.numel()), gate.contiguous(), up.contiguous(), entries, out,
            out.numel(), half(shift), shift, block=BLOCK,
        )  # fmt: skip
        return out


def _deep(dim: int) -> int:
    return max(_DEPTH, 1 << (dim - 1).bit_length())
