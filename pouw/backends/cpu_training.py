"""What training needs of the torch backend for CPUs: in 32 bits, in place where it can."""

from collections.abc import Sequence

import torch

from pouw.arithmetic.cross_entropy import LOGIT, PART, POWER, PROBABILITY, REACH, WHOLE
from pouw.backends.torch_tensors import TORCH_TYPES, spread
from pouw.tensors import DType


class CpuTraining:
    """See `pouw.backends.training.TrainingBackend`; tensors are torch's."""

    def __init__(self) -> None:
        self._whole = torch.from_numpy(WHOLE.copy())
        self._part = torch.from_numpy(PART.copy())

    def columns(self, a: torch.Tensor, *, start: int, count: int) -> torch.Tensor:
        """See `TrainingBackend.columns`."""
        return a[:, start : start + count].contiguous()

    def transpose(self, a: torch.Tensor) -> torch.Tensor:
        """See `TrainingBackend.transpose`."""
        return a.t().contiguous()

    def total(self, tensors: Sequence[torch.Tensor]) -> torch.Tensor:
        """See `TrainingBackend.total`."""
        result = tensors[0].clone()
        for tensor in tensors[1:]:
            result += tensor
        return result

    def interleaved(self, tensors: Sequence[torch.Tensor]) -> torch.Tensor:
        """See `TrainingBackend.interleaved`."""
        return torch.stack(list(tensors), dim=2).flatten(1)

    def rounded(self, a: torch.Tensor, *, shift: int, low: int, high: int, dtype: DType) -> torch.Tensor:
        """See `TrainingBackend.rounded`."""
        return _shifted(a, shift).clamp_(low, high).to(TORCH_TYPES[dtype])

    def stochastic(
        self, a: torch.Tensor, noise: torch.Tensor, *, gate: torch.Tensor | None, start: int, shift: int
    ) -> torch.Tensor:
        """See `TrainingBackend.stochastic`."""
        total = spread(noise[:, start : start + a.shape[1]], shift).add_(a)
        result = total.bitwise_right_shift_(shift).clamp_(-127, 127).to(torch.int8)
        if gate is not None:
            result.masked_fill_((gate < 1) | (gate > 126), 0)
        return result

    def loss_gradient(
        self, logits: torch.Tensor, labels: torch.Tensor, *, label: int, scale: int
    ) -> torch.Tensor:
        """See `TrainingBackend.loss_gradient`."""
        wide = logits.to(torch.int64)
        below = wide.amax(dim=1, keepdim=True).sub(wide).bitwise_right_shift_(scale - LOGIT)
        below.clamp_(max=(REACH << LOGIT) - 1)
        shares = self._whole[below >> LOGIT].mul_(self._part[below & ((1 << LOGIT) - 1)])
        shares.bitwise_right_shift_(POWER)
        total = shares.sum(dim=1, keepdim=True)
        chances = shares.bitwise_left_shift_(PROBABILITY).add_(total >> 1)
        chances = torch.div(chances, total, rounding_mode="floor")
        hit = labels[:, label : label + 1] == torch.arange(logits.shape[1])
        return chances.sub_(hit.to(torch.int64) << PROBABILITY).to(torch.int16)

    def velocity(
        self,
        speed: torch.Tensor,
        gradient: torch.Tensor,
        noise: torch.Tensor,
        *,
        shift: int,
        friction: int,
        limit: int,
    ) -> torch.Tensor:
        """See `TrainingBackend.velocity`."""
        pushed = spread(noise, shift).add_(gradient).bitwise_right_shift_(shift)
        return pushed.add_(speed).sub_(_shifted(speed, friction)).clamp_(-limit, limit)

    def descend(self, master: torch.Tensor, speed: torch.Tensor, *, limit: int) -> torch.Tensor:
        """See `TrainingBackend.descend`."""
        return master.sub(speed).clamp_(-limit, limit)


def _shifted(x: torch.Tensor, bits: int) -> torch.Tensor:
    return x.add((1 << bits) >> 1).bitwise_right_shift_(bits)
