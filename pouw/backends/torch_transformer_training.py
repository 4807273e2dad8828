"""The part for training transformers in torch alone: in 32 bits where sums fit, else in 64.

It is the CPU's, and a GPU's too: nothing here leaves the device of its operands, or waits for it.
"""

from typing import Final

import numpy as np
import torch

from pouw.arithmetic.cross_entropy import LOGIT, PART, POWER, REACH, WHOLE
from pouw.arithmetic.fixed import half
from pouw.arithmetic.heads import Heads
from pouw.arithmetic.logarithms import MANTISSA, logarithms
from pouw.arithmetic.tables import TURN_BITS
from pouw.arithmetic.transformer_rows import NORM_BITS, ROOT_SUM_MAX
from pouw.arithmetic.transformer_training_rows import ERROR_LIMIT, GUARD, NATS_ABOVE_LOGIT, SHARE
from pouw.backends.torch_roots import bit_length, halves, norm_factors
from pouw.backends.torch_tensors import CPU, TORCH_TYPES, Multiply, blocks, spread, table_on
from pouw.tensors import DType

_SHORT: Final = 512
"""Sums of so many errors times int8 values stay within int32, with 2^22 that may be added to them."""

_SHORT_SHIFT: Final = 22

_NEAR: Final = 1 << 29
"""Where sums and a limit lie within this, what they are added to may be cut at twice as much."""

_EXACT: Final = 1 << 53
"""Doubles hold every integer up to here, and floor a quotient of two such integers rightly: if it is no
integer, it is further from the next one than the quotient's last bit."""


class TorchTransformerTraining:
    """See `pouw.backends.transformer_training.TransformerTraining`; tensors are torch's.

    Args:
        multiply: how int8 matrices are multiplied there.
        device: where tensors lie.
    """

    def __init__(self, multiply: Multiply, device: torch.device = CPU) -> None:
        self._multiply = multiply
        self._device = device
        self._whole, self._part, self._logarithms = (
            table_on(device, table) for table in (WHOLE, PART, logarithms())
        )

    def wide_linear(
        self, a: torch.Tensor, b: torch.Tensor, onto: torch.Tensor | None, noise: torch.Tensor | None, *,
        shift: int, limit: int, dtype: DType,
    ) -> torch.Tensor:  # fmt: skip
        """See `pouw.ops.wide_linear`."""
        rows, depth = a.shape
        both = torch.empty((2 * rows, depth), dtype=torch.int8, device=self._device)
        torch.add(a, 128, out=(high := torch.empty_like(a))).bitwise_right_shift_(8)
        both[:rows] = high
        # The low byte as it stands, read as int8, is what the rounded high one leaves over.
        both[rows:] = a.contiguous().view(torch.int8).view(rows, depth, 2)[:, :, 0]
        products = self._multiply(both, b)
        total, low = products[:rows], products[rows:]
        short = depth <= _SHORT and shift <= _SHORT_SHIFT
        if onto is not None and short and shift >= 2 and limit <= _NEAR:
            onto = onto.to(torch.int32).clamp(-2 * _NEAR, 2 * _NEAR)
        elif not short or onto is not None:
            total = total.to(torch.int64)
        total = (
            total.bitwise_left_shift_(8)
            .add_(low)
            .add_(half(shift) if noise is None else spread(noise, shift))
        )
        total = total.bitwise_right_shift_(shift)
        if onto is not None:
            total = total.add_(onto)
        return total.clamp_(-limit, limit).to(TORCH_TYPES[dtype])

    def part_sums(
        self, a: torch.Tensor, noise: torch.Tensor | None, *, parts: int, shift: int, limit: int
    ) -> torch.Tensor:
        """See `pouw.ops.part_sums`."""
        total = a.view(len(a), -1, parts).sum(dim=2, dtype=torch.int64)
        total.add_(half(shift) if noise is None else spread(noise, shift))
        return total.bitwise_right_shift_(shift).clamp_(-limit, limit).to(torch.int32)

    def norm_gradient(
        self, x: torch.Tensor, errors: torch.Tensor, onto: torch.Tensor | None, *, epsilon: int, shift: int
    ) -> torch.Tensor:
        """See `pouw.ops.norm_gradient`."""
        out = torch.empty(x.shape, dtype=torch.int16, device=self._device)
        count, drop = x.shape[1], 2 * NORM_BITS - GUARD
        for rows in blocks(x):
            wide, given = x[rows].to(torch.int64, copy=True), errors[rows].to(torch.int64, copy=True)
            sums = wide.square().sum(dim=1, keepdim=True).clamp_(0, ROOT_SUM_MAX).add_(epsilon)
            inverse, places = norm_factors(sums, count)
            normed = wide.mul_(inverse).add_(halves(places)).bitwise_right_shift_(places)
            along = (normed * given).sum(dim=1, keepdim=True).mul_(2).add_(count)
            along = torch.div(along, 2 * count, rounding_mode="floor")
            across = given.bitwise_left_shift_(GUARD)
            across -= normed.mul_(along).add_(half(drop)).bitwise_right_shift_(drop)
            places = places + shift
            value = across.mul_(inverse).add_(halves(places)).bitwise_right_shift_(places)
            if onto is not None:
                value += onto[rows]
            out[rows] = value.clamp_(-ERROR_LIMIT, ERROR_LIMIT)
        return out

    def rotary_gradient(self, errors: torch.Tensor, turns: torch.Tensor, *, heads: Heads) -> torch.Tensor:
        """See `pouw.ops.rotary_gradient`."""
        middle = heads.dim >> 1
        # 2^15 times 2^14, twice, and a rounding term: below 2^31.
        split = errors.view(heads.sequences, heads.tokens, heads.queries, heads.dim).to(torch.int32)
        both = turns[: heads.tokens, None].to(torch.int32)
        first, second = split[..., :middle], split[..., middle:]
        cos, sin = both[..., :middle], both[..., middle:]
        turned = torch.cat([first * cos + second * sin, second * cos - first * sin], dim=-1)
        turned = turned.add_(half(TURN_BITS)).bitwise_right_shift_(TURN_BITS)
        return turned.clamp_(-ERROR_LIMIT, ERROR_LIMIT).to(torch.int16).view(errors.shape)

    def attention_shares(self, weights: torch.Tensor, *, heads: Heads) -> torch.Tensor:
        """See `pouw.ops.attention_shares`."""
        wide = weights.to(torch.float64)
        sums = wide.sum(dim=1, keepdim=True).clamp_(min=1)
        shares = wide.mul_(2 << SHARE).add_(sums).div_(2 * sums).floor_().clamp_(max=(1 << SHARE) - 1)
        return self.scores_turned(shares.to(torch.int16), heads=heads)

    def attention_errors(
        self, weights: torch.Tensor, errors: torch.Tensor, values: torch.Tensor, *, heads: Heads, shift: int
    ) -> torch.Tensor:
        """See `pouw.ops.attention_errors`."""
        square = (-1, heads.tokens, heads.tokens)
        e = errors.view(heads.sequences, heads.tokens, heads.queries, heads.dim).transpose(1, 2)
        v = values.view(-1, heads.tokens, heads.dim).to(torch.float64)
        # Doubles add products of these sizes exactly, see `pouw.ops.heads_product.EXACT_DOUBLE`.
        pulls = torch.bmm(e.reshape(-1, heads.tokens, heads.dim).to(torch.float64), v.transpose(1, 2))
        most = 128 * heads.tokens * (heads.dim * ERROR_LIMIT * 128 + (1 << shift))
        kind = torch.float64 if 4 * most < _EXACT else torch.int64
        w, pulls = weights.view(square).to(kind), pulls.to(kind)
        sums = w.sum(dim=2, keepdim=True).clamp_(min=1)
        centre = _floored((w * pulls).sum(dim=2, keepdim=True).mul_(2).add_(sums), 2 * sums)
        by = sums * (1 << shift)
        result = _floored(pulls.sub_(centre).mul_(w).mul_(2).add_(by), 2 * by)
        return result.clamp_(-ERROR_LIMIT, ERROR_LIMIT).to(torch.int16).view(weights.shape)

    def heads_product(
        self, a: torch.Tensor, b: torch.Tensor, *, heads: Heads, multiplier: int, shift: int
    ) -> torch.Tensor:
        """See `pouw.ops.heads_product`."""
        left = a.view(-1, heads.tokens, heads.tokens).to(torch.float64)
        right = b.view(heads.queries, heads.dim, heads.sequences, heads.tokens).permute(2, 0, 3, 1)
        right = right.reshape(-1, heads.tokens, heads.dim).to(torch.float64)
        total = torch.bmm(left, right)
        widest = 128 if b.dtype == torch.int8 else 1 << 15
        if (heads.tokens * widest << 15) * multiplier + half(shift) < _EXACT:
            total = total.mul_(multiplier).add_(half(shift)).mul_(2.0**-shift).floor_()
        else:
            total = total.to(torch.int64).mul_(multiplier).add_(half(shift)).bitwise_right_shift_(shift)
        narrow = total.clamp_(-ERROR_LIMIT, ERROR_LIMIT).to(torch.int16)
        split = narrow.view(heads.sequences, heads.queries, heads.tokens, heads.dim)
        return split.transpose(1, 2).reshape(heads.sequences * heads.tokens, -1)

    def heads_turned(self, a: torch.Tensor, *, heads: Heads, to_channels: bool) -> torch.Tensor:
        """See `pouw.ops.heads_turned`."""
        if to_channels:
            split = a.view(heads.sequences, heads.queries, heads.tokens, heads.dim)
            return split.permute(1, 3, 0, 2).reshape(heads.queries * heads.dim, -1)
        split = a.view(heads.queries, heads.dim, heads.sequences, heads.tokens)
        return split.permute(2, 0, 3, 1).reshape(-1, heads.dim)

    def scores_turned(self, a: torch.Tensor, *, heads: Heads) -> torch.Tensor:
        """See `pouw.ops.heads_turned`."""
        return a.view(-1, heads.tokens, heads.tokens).transpose(1, 2).reshape(a.shape)

    def gate_gradient(
        self, errors: torch.Tensor, gate: torch.Tensor, up: torch.Tensor | None, *, table: bytes, shift: int
    ) -> torch.Tensor:
        """See `pouw.ops.gate_gradient`."""
        # Two factors of 16 bits and a rounding term of 2^29 fit int32, three factors do not.
        kind = torch.int32 if up is None and shift <= 30 else torch.int64
        entries = torch.from_numpy(np.frombuffer(table, "<i2").astype(np.int64)).to(self._device, kind)
        out = torch.empty(errors.shape, dtype=torch.int16, device=self._device)
        for rows in blocks(errors):
            index = gate[rows].to(torch.int32).add_(128).view(-1)
            value = entries.index_select(0, index).view(gate[rows].shape).mul_(errors[rows])
            if up is not None:
                value = value.mul_(up[rows])
            value = value.add_(half(shift)).bitwise_right_shift_(shift)
            out[rows] = value.clamp_(-ERROR_LIMIT, ERROR_LIMIT)
        return out

    def token_gradient(self, logits: torch.Tensor, tokens: torch.Tensor, *, length: int) -> torch.Tensor:
        """See `pouw.ops.next_token`."""
        shares, _ = self._shares_of_tokens(logits)
        total = shares.sum(dim=1, keepdim=True)
        chances = shares.bitwise_left_shift_(SHARE + 1).add_(total)
        chances = torch.div(chances, total.mul_(2), rounding_mode="floor")
        labels = _labels(tokens, length)
        hit = labels == torch.arange(logits.shape[1], device=self._device)
        errors = chances.sub_(hit.to(torch.int64) << SHARE).clamp_(-ERROR_LIMIT, ERROR_LIMIT)
        return errors.masked_fill_(labels < 0, 0).to(torch.int16)

    def token_loss(self, logits: torch.Tensor, tokens: torch.Tensor, *, length: int) -> torch.Tensor:
        """See `pouw.ops.next_token`."""
        shares, below = self._shares_of_tokens(logits)
        labels = _labels(tokens, length)
        total = shares.sum(dim=1, keepdim=True)
        exponent, table = bit_length(total) - 1, self._logarithms
        lead = (total >> (exponent - MANTISSA)) - (1 << MANTISSA)
        away = below.gather(1, labels.clamp(0, logits.shape[1] - 1)) << NATS_ABOVE_LOGIT
        value = (exponent - POWER) * table[-1] + table[lead] + away
        return value.clamp_(max=DType.INT32.high).masked_fill_(labels < 0, 0).to(torch.int32)

    def embedding_gradient(
        self, tokens: torch.Tensor, errors: torch.Tensor, *, rows: int, limit: int
    ) -> torch.Tensor:
        """See `pouw.ops.embedding_gradient`."""
        places = tokens[:, 0].to(torch.int64)
        unknown = (places < 0) | (places >= rows)
        # An int32 sum of 131,071 errors at most is exact, in any order.
        out = torch.zeros((rows, errors.shape[0]), dtype=torch.int32, device=self._device)
        known = errors.t().to(torch.int32, copy=True).masked_fill_(unknown.view(-1, 1), 0)
        out.index_add_(0, places.clamp(0, rows - 1), known)
        return out.clamp_(-limit, limit)

    def momentum(
        self, momentum: torch.Tensor, gradient: torch.Tensor, *, decay: int, limit: int
    ) -> torch.Tensor:
        """See `pouw.ops.lion`."""
        lost = momentum.add(half(decay)).bitwise_right_shift_(decay)
        return (momentum + gradient).sub_(lost).clamp_(-limit, limit)

    def lion(
        self, master: torch.Tensor, momentum: torch.Tensor, gradient: torch.Tensor, *,
        rate: int, fade: int, keep: int, lift: int, limit: int,
    ) -> torch.Tensor:  # fmt: skip
        """See `pouw.ops.lion`."""
        out = torch.empty_like(master)
        for rows in blocks(master):
            turn = gradient[rows].to(torch.int64).bitwise_left_shift_(lift)
            turn = turn.add_(momentum[rows].to(torch.int64).mul_(keep)).sign_().mul_(rate)
            wide = master[rows].to(torch.int64)
            lost = wide.mul(rate).add_(half(fade)).bitwise_right_shift_(fade)
            out[rows] = wide.sub_(turn).sub_(lost).clamp_(-limit, limit)
        return out

    def narrowed(self, a: torch.Tensor, *, shift: int, limit: int, dtype: DType) -> torch.Tensor:
        """See `pouw.ops.narrowed`."""
        wide = a.to(torch.int64).add_(half(shift)).bitwise_right_shift_(shift)
        return wide.clamp_(-limit, limit).to(TORCH_TYPES[dtype])

    def _shares_of_tokens(self, logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        wide = logits.to(torch.int64)
        below = wide.amax(dim=1, keepdim=True).sub(wide)
        near = below.clamp(max=(REACH << LOGIT) - 1)
        shares = self._whole[near >> LOGIT].mul_(self._part[near & ((1 << LOGIT) - 1)])
        return shares.bitwise_right_shift_(POWER), below


def _floored(value: torch.Tensor, by: torch.Tensor) -> torch.Tensor:
    return (
        torch.div(value, by, rounding_mode="floor") if value.dtype == torch.int64 else (value / by).floor_()
    )


def _labels(tokens: torch.Tensor, length: int) -> torch.Tensor:
    """The token after each, -1 at the end of each text; [m,1]."""
    labels = torch.roll(tokens.to(torch.int64), -1, 0)
    labels[length - 1 :: length] = -1
    return labels
