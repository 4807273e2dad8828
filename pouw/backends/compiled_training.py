"""The CPU backend's part for training with compiled loops."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch

from pouw.arithmetic.cross_entropy import LOGIT, PART, WHOLE
from pouw.backends.cpu_training import CpuTraining
from pouw.backends.host import host
from pouw.backends.parallel import WORTH_A_THREAD, in_stretches
from pouw.backends.torch_tensors import TORCH_TYPES
from pouw.kernels.learning import (
    descend_rows,
    loss_rows,
    round_rows,
    stochastic_rows,
    turn_squares,
    velocity_rows,
)
from pouw.tensors import DType


class CompiledTraining(CpuTraining):
    """See `pouw.backends.training.TrainingBackend`; what is not here is torch's.

    Args:
        threads: how many may run.
    """

    def __init__(self, threads: int) -> None:
        super().__init__()
        self._threads = threads

    def transpose(self, a: torch.Tensor) -> torch.Tensor:
        """See `TrainingBackend.transpose`."""
        rows, cols = a.shape
        if a.dtype != torch.int8 or rows % 8 or cols % 8:
            return super().transpose(a)
        out = torch.empty((cols, rows), dtype=torch.int8)
        words, turned = host(a).view(np.uint64), host(out).view(np.uint64)
        in_stretches(partial(turn_squares, words, turned), rows // 8, values=a.numel(), threads=self._threads)
        return out

    def rounded(self, a: torch.Tensor, *, shift: int, low: int, high: int, dtype: DType) -> torch.Tensor:
        """See `TrainingBackend.rounded`."""
        out = _like(a, TORCH_TYPES[dtype])
        self._over(round_rows, a, shift, low, high, host(out))
        return out

    def stochastic(
        self, a: torch.Tensor, noise: torch.Tensor, *, gate: torch.Tensor | None, start: int, shift: int
    ) -> torch.Tensor:
        """See `TrainingBackend.stochastic`."""
        out = _like(a, torch.int8)
        shut = out if gate is None else gate
        self._over(stochastic_rows, a, host(noise), start, host(shut), gate is not None, shift, host(out))
        return out

    def loss_gradient(
        self, logits: torch.Tensor, labels: torch.Tensor, *, label: int, scale: int
    ) -> torch.Tensor:
        """See `TrainingBackend.loss_gradient`."""
        out = _like(logits, torch.int16)
        self._over(loss_rows, logits, host(labels), label, scale - LOGIT, WHOLE, PART, host(out))
        return out

    def velocity(
        self, speed: torch.Tensor, gradient: torch.Tensor, noise: torch.Tensor, *,
        shift: int, friction: int, limit: int,
    ) -> torch.Tensor:  # fmt: skip
        """See `TrainingBackend.velocity`."""
        out = _like(speed, torch.int32)
        self._over(velocity_rows, speed, host(gradient), host(noise), shift, friction, limit, host(out))
        return out

    def descend(self, master: torch.Tensor, speed: torch.Tensor, *, limit: int) -> torch.Tensor:
        """See `TrainingBackend.descend`."""
        out = _like(master, torch.int32)
        self._over(descend_rows, master, host(speed), limit, host(out))
        return out

    def _over(self, kernel: Callable[..., Any], a: torch.Tensor, *operands: object) -> None:
        """A kernel over the rows of its first operand."""
        rows, values = a.shape[0], a.numel()
        if self._threads == 1 or values < 2 * WORTH_A_THREAD:
            # Tensors of a few thousand numbers, for which every microsecond of calling shows.
            kernel(host(a), *operands, 0, rows)
        else:
            in_stretches(partial(kernel, host(a), *operands), rows, values=values, threads=self._threads)


def _like(a: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Room for a result of a's shape, in C order whatever a's is."""
    return torch.empty_like(a, dtype=dtype, memory_format=torch.contiguous_format)
