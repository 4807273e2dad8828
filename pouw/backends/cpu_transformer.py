"""The CPU backend's part for transformers: torch, in integers, and in float32 where its sums are exact."""

from typing import Final

import numpy as np
import torch

from pouw.arithmetic.fixed import half
from pouw.arithmetic.heads import Heads
from pouw.arithmetic.tables import WEIGHT_STEPS, attention_weights
from pouw.arithmetic.transformer_rows import ROOT_SUM_MAX
from pouw.backends.torch_roots import halves, norm_factors
from pouw.backends.torch_tensors import TORCH_TYPES, Multiply, blocks
from pouw.tensors import DType

_CHUNK: Final = 1024
"""Products of int8 values sum exactly in float32 up to here."""

_HIDDEN: Final = -float(1 << 27)
"""Below every score, and exact in float32; scores stay within 2^24."""


class CpuTransformer:
    """See `pouw.backends.transformer.TransformerOps`; tensors are torch's.

    Args:
        multiply: how int8 matrices are multiplied on this machine.
    """

    def __init__(self, multiply: Multiply) -> None:
        self._multiply = multiply

    def linear(
        self,
        a: torch.Tensor,
        b: torch.Tensor,
        scale: torch.Tensor,
        residual: torch.Tensor | None,
        *,
        by_row: bool,
        shift: int,
        limit: int,
        dtype: DType,
    ) -> torch.Tensor:
        """See `pouw.ops.linear`."""
        total = self._multiply(a, b)
        out = torch.empty(total.shape, dtype=TORCH_TYPES[dtype])
        scales = scale.to(torch.int64) if by_row else scale.to(torch.int64).t()
        for rows in blocks(total):
            wide = total[rows].to(torch.int64).mul_(scales[rows] if by_row else scales)
            wide = wide.add_(half(shift)).bitwise_right_shift_(shift)
            if residual is not None:
                wide = wide.add_(residual[rows])
            out[rows] = wide.clamp_(-limit, limit)
        return out

    def row_norm(self, x: torch.Tensor, gain: torch.Tensor, *, epsilon: int, shift: int) -> torch.Tensor:
        """See `pouw.ops.row_norm`."""
        out = torch.empty(x.shape, dtype=torch.int8)
        gains = gain.to(torch.int64)
        for rows in blocks(x):
            wide = x[rows].to(torch.int64)
            sums = wide.square().sum(dim=1, keepdim=True).clamp_(0, ROOT_SUM_MAX).add_(epsilon)
            inverse, places = norm_factors(sums, x.shape[1])
            wide = wide.mul_(inverse).add_(halves(places)).bitwise_right_shift_(places)
            wide = wide.mul_(gains).add_(half(shift)).bitwise_right_shift_(shift)
            out[rows] = wide.clamp_(-127, 127)
        return out

    def rotary(
        self, x: torch.Tensor, turns: torch.Tensor, *, heads: Heads, shift: int, by_head: bool
    ) -> torch.Tensor:
        """See `pouw.ops.rotary`."""
        middle = heads.dim >> 1
        # int16 times 2^14 at most, twice: 2^30, and a rounding term of 2^29.
        kind = torch.int32 if shift <= 30 else torch.int64
        split = x.view(heads.sequences, heads.tokens, heads.queries, heads.dim).to(kind)
        both = turns[heads.past : heads.span, None].to(kind)
        first, second = split[..., :middle], split[..., middle:]
        cos, sin = both[..., :middle], both[..., middle:]
        turned = torch.cat([first * cos - second * sin, first * sin + second * cos], dim=-1)
        turned = turned.add_(half(shift)).bitwise_right_shift_(shift).clamp_(-127, 127)
        narrow = turned.to(torch.int8)
        return narrow.transpose(1, 2).reshape(-1, heads.dim) if by_head else narrow.reshape(x.shape)

    def attention_weights(
        self, queries: torch.Tensor, keys: torch.Tensor, *, heads: Heads, multiplier: int, shift: int
    ) -> torch.Tensor:
        """See `pouw.ops.attention_weights`."""
        q = queries.view(heads.sequences, heads.tokens, heads.queries, heads.dim).transpose(1, 2)
        q = q.reshape(-1, heads.tokens, heads.dim)
        k = keys.view(-1, heads.span, heads.dim).to(torch.float32)
        out = torch.empty(q.shape[0], heads.tokens, heads.span, dtype=torch.int8)
        table = torch.from_numpy(attention_weights().copy())
        # Beyond this difference every weight is 0; most models then fit int32.
        far = min(1 << 26, (WEIGHT_STEPS << shift) // multiplier + 1)
        kind = torch.int32 if far * multiplier + half(shift) < 1 << 31 else torch.int64
        later = torch.ones(heads.tokens, heads.span, dtype=torch.bool).triu_(heads.past + 1)
        for head in range(q.shape[0]):
            scores = q[head].to(torch.float32) @ k[head // heads.group].t()
            scores = scores.masked_fill_(later, _HIDDEN).to(torch.int32)
            away = scores.amax(dim=1, keepdim=True).sub(scores).clamp_(max=far).to(kind)
            steps = away.mul_(multiplier).add_(half(shift)).bitwise_right_shift_(shift)
            steps = steps.clamp_(max=WEIGHT_STEPS - 1).view(-1)
            out[head] = table.index_select(0, steps).view(heads.tokens, heads.span).masked_fill_(later, 0)
        return out.view(-1, heads.span)

    def attention_mix(
        self, weights: torch.Tensor, values: torch.Tensor, *, heads: Heads, gain: int
    ) -> torch.Tensor:
        """See `pouw.ops.attention_mix`."""
        w = weights.view(heads.sequences, heads.queries, heads.tokens, heads.span)
        v = values.view(heads.keys, heads.dim, heads.sequences, heads.span)
        out = torch.empty(heads.sequences, heads.tokens, heads.queries, heads.dim, dtype=torch.int8)
        for sequence in range(heads.sequences):
            for head in range(heads.queries):
                mine = w[sequence, head]
                total = _by_chunks(mine, v[head // heads.group, :, sequence]).to(torch.int64)
                sums = mine.sum(dim=1, keepdim=True, dtype=torch.int64).clamp_(min=1)
                doubled = total.mul_(2 * gain).add_(sums << 8)
                mixed = torch.div(doubled, sums << 9, rounding_mode="floor")
                out[sequence, :, head] = mixed.clamp_(-127, 127)
        return out.view(heads.sequences * heads.tokens, -1)

    def gate(self, gate: torch.Tensor, up: torch.Tensor, *, table: bytes, shift: int) -> torch.Tensor:
        """See `pouw.ops.gate`."""
        # int16 times int8 is 2^22 at most.
        kind = torch.int32 if shift <= 30 else torch.int64
        entries = torch.from_numpy(np.frombuffer(table, "<i2").astype(np.int64)).to(kind)
        out = torch.empty(gate.shape, dtype=torch.int8)
        for rows in blocks(gate):
            index = gate[rows].to(torch.int32).add_(128).view(-1)
            opened = entries.index_select(0, index).view(up[rows].shape)
            product = opened.mul_(up[rows]).add_(half(shift)).bitwise_right_shift_(shift)
            out[rows] = product.clamp_(-127, 127)
        return out

    def gather(self, index: torch.Tensor, table: torch.Tensor, *, lift: int, dtype: DType) -> torch.Tensor:
        """See `pouw.ops.gather`."""
        rows = index[:, 0].to(torch.int64).clamp_(0, table.shape[0] - 1)
        return table.index_select(0, rows).to(TORCH_TYPES[dtype]).bitwise_left_shift_(lift)

    def append(self, old: torch.Tensor, new: torch.Tensor, *, blocks: int, by_col: bool) -> torch.Tensor:
        """See `pouw.ops.append`."""
        if by_col:
            rows = old.shape[0]
            return torch.cat([part.view(rows, blocks, -1) for part in (old, new)], dim=2).view(rows, -1)
        cols = old.shape[1]
        return torch.cat([part.view(blocks, -1, cols) for part in (old, new)], dim=1).view(-1, cols)

    def last_rows(self, x: torch.Tensor, *, blocks: int, keep: int) -> torch.Tensor:
        """See `pouw.ops.last_rows`."""
        return x.view(blocks, -1, x.shape[1])[:, -keep:].reshape(blocks * keep, -1)


def _by_chunks(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    total = torch.zeros(a.shape[0], b.shape[0], dtype=torch.int32)
    for start in range(0, a.shape[1], _CHUNK):
        left, right = (part[:, start : start + _CHUNK].to(torch.float32) for part in (a, b))
        total += (left @ right.t()).to(torch.int32)
    return total
