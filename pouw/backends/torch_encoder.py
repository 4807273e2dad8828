"""The part for encoders in torch alone: in integers, and in float32 where its sums are exact.

It is the CPU's, and a GPU's too: nothing here leaves the device of its operands, or waits for it.
"""

import numpy as np
import torch

from pouw.arithmetic.fixed import half
from pouw.arithmetic.heads import Heads
from pouw.arithmetic.tables import WEIGHT_STEPS, attention_weights
from pouw.arithmetic.transformer_rows import ROOT_SUM_MAX
from pouw.backends.torch_roots import halves, norm_factors
from pouw.backends.torch_tensors import CPU, TORCH_TYPES, Multiply, blocks, table_on
from pouw.tensors import DType


class TorchEncoder:
    """See `pouw.backends.encoder.EncoderOps`; tensors are torch's.

    Args:
        multiply: how int8 matrices are multiplied there.
        device: where tensors lie.
    """

    def __init__(self, multiply: Multiply, device: torch.device = CPU) -> None:
        self._multiply = multiply
        self._device = device
        self._weights = table_on(device, attention_weights())

    def affine(
        self, a: torch.Tensor, b: torch.Tensor, scale: torch.Tensor, bias: torch.Tensor,
        residual: torch.Tensor | None, *,
        by_row: bool, shift: int, limit: int, dtype: DType, table: bytes,
    ) -> torch.Tensor:  # fmt: skip
        """See `pouw.ops.affine`."""
        total = self._multiply(a, b)
        total += bias if by_row else bias.t()
        out = torch.empty(total.shape, dtype=TORCH_TYPES[dtype], device=self._device)
        scales = scale.to(torch.int64) if by_row else scale.to(torch.int64).t()
        entries = table_on(self._device, np.frombuffer(table or b"\0", np.int8))
        for rows in blocks(total):
            wide = total[rows].to(torch.int64).mul_(scales[rows] if by_row else scales)
            wide = wide.add_(half(shift)).bitwise_right_shift_(shift)
            if residual is not None:
                wide = wide.add_(residual[rows])
            wide = wide.clamp_(-limit, limit)
            if table:
                index = wide.add_(len(table) >> 1).view(-1)
                wide = entries.index_select(0, index).view(out[rows].shape)
            out[rows] = wide
        return out

    def layer_norm(
        self, x: torch.Tensor, gain: torch.Tensor, bias: torch.Tensor, *,
        epsilon: int, shift: int, lift: int, limit: int, dtype: DType,
    ) -> torch.Tensor:  # fmt: skip
        """See `pouw.ops.layer_norm`."""
        count = x.shape[1]
        out = torch.empty(x.shape, dtype=TORCH_TYPES[dtype], device=self._device)
        gains = gain.to(torch.int64)
        biases = bias.to(torch.int64).bitwise_left_shift(lift).add_(half(shift))
        for rows in blocks(x):
            wide = x[rows].to(torch.int64)
            doubled = wide.sum(dim=1, keepdim=True).mul_(2).add_(count)
            wide = wide.sub_(torch.div(doubled, 2 * count, rounding_mode="floor"))
            sums = wide.square().sum(dim=1, keepdim=True).clamp_(0, ROOT_SUM_MAX).add_(epsilon)
            inverse, places = norm_factors(sums, count)
            wide = wide.mul_(inverse).add_(halves(places)).bitwise_right_shift_(places)
            wide = wide.mul_(gains).add_(biases).bitwise_right_shift_(shift)
            out[rows] = wide.clamp_(-limit, limit)
        return out

    def attention_weights(
        self, queries: torch.Tensor, keys: torch.Tensor, *,
        heads: Heads, lengths: tuple[int, ...], multiplier: int, shift: int,
    ) -> torch.Tensor:  # fmt: skip
        """See `pouw.ops.attention_weights`."""
        q = queries.view(heads.sequences, heads.tokens, heads.queries, heads.dim).to(torch.float32)
        k = keys.view(heads.sequences, heads.keys, heads.span, heads.dim).to(torch.float32)
        shape = heads.sequences, heads.queries, heads.tokens, heads.span
        out = torch.zeros(shape, dtype=torch.int8, device=self._device)
        # Beyond this difference every weight is 0; most models then fit int32.
        far = min(1 << 26, (WEIGHT_STEPS << shift) // multiplier + 1)
        kind = torch.int32 if far * multiplier + half(shift) < 1 << 31 else torch.int64
        for sequence, length in enumerate(lengths):
            for head in range(heads.queries):
                visible = k[sequence, head // heads.group, :length]
                scores = (q[sequence, :, head] @ visible.t()).to(torch.int32)
                away = scores.amax(dim=1, keepdim=True).sub(scores).clamp_(max=far).to(kind)
                steps = away.mul_(multiplier).add_(half(shift)).bitwise_right_shift_(shift)
                steps = steps.clamp_(max=WEIGHT_STEPS - 1).view(-1)
                weights = self._weights.index_select(0, steps)
                out[sequence, head, :, :length] = weights.view(heads.tokens, length)
        return out.view(-1, heads.span)

    def positions(
        self, x: torch.Tensor, table: torch.Tensor, *, places: tuple[int, ...], lift: int
    ) -> torch.Tensor:
        """See `EncoderOps.positions`."""
        chosen = torch.tensor(places, device=self._device)
        rows = table.index_select(0, chosen).to(torch.int32).bitwise_left_shift_(lift)
        return rows.add_(x).to(x.dtype)

    def split_heads(self, x: torch.Tensor, *, heads: Heads) -> torch.Tensor:
        """See `pouw.ops.split_heads`."""
        split = x.view(heads.sequences, heads.tokens, heads.queries, heads.dim)
        return split.transpose(1, 2).reshape(-1, heads.dim)

    def mean_pool(self, x: torch.Tensor, *, tokens: int, lengths: tuple[int, ...]) -> torch.Tensor:
        """See `pouw.ops.mean_pool`."""
        parts = x.view(x.shape[0], len(lengths), tokens).to(torch.int64)
        totals = torch.stack([parts[:, s, :length].sum(dim=1) for s, length in enumerate(lengths)], dim=1)
        counts = torch.tensor(lengths, device=self._device)
        return torch.div(totals.mul_(2).add_(counts), 2 * counts, rounding_mode="floor").to(x.dtype)

    def first_rows(self, x: torch.Tensor, *, blocks: int) -> torch.Tensor:
        """See `pouw.ops.first_rows`."""
        return x[:: x.shape[0] // blocks].contiguous()
