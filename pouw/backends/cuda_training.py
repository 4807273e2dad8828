"""The GPU backend's part for training."""

import torch

from pouw.arithmetic.cross_entropy import LOGIT, PART, WHOLE
from pouw.arithmetic.fixed import half
from pouw.backends import triton_learning
from pouw.backends.cpu_training import CpuTraining
from pouw.backends.torch_tensors import TORCH_TYPES, table_on
from pouw.backends.triton_kernel import BLOCK, blocks_of, launch
from pouw.tensors import DType


class CudaTraining(CpuTraining):
    """See `pouw.backends.training.TrainingBackend`; what only moves or adds numbers is torch's.

    Args:
        device: where tensors lie.
    """

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self._device = device
        self._powers = tuple(table_on(device, table) for table in (WHOLE, PART))

    def rounded(self, a: torch.Tensor, *, shift: int, low: int, high: int, dtype: DType) -> torch.Tensor:
        """See `TrainingBackend.rounded`."""
        out = self._empty(a, TORCH_TYPES[dtype])
        launch(
            triton_learning.narrow, blocks_of(a.numel()), a.contiguous(), out, a.numel(), half(shift), shift,
            low, high, block=BLOCK,
        )  # fmt: skip
        return out

    def stochastic(
        self, a: torch.Tensor, noise: torch.Tensor, *, gate: torch.Tensor | None, start: int, shift: int
    ) -> torch.Tensor:
        """See `TrainingBackend.stochastic`."""
        out = self._empty(a, torch.int8)
        launch(
            triton_learning.stochastic, blocks_of(a.numel()), a.contiguous(), noise.contiguous(),
            out if gate is None else gate.contiguous(), out, a.numel(), a.shape[1], noise.shape[1], start,
            shift, gated=gate is not None, block=BLOCK,
        )  # fmt: skip
        return out

    def loss_gradient(
        self, logits: torch.Tensor, labels: torch.Tensor, *, label: int, scale: int
    ) -> torch.Tensor:
        """See `TrainingBackend.loss_gradient`."""
        out = self._empty(logits, torch.int16)
        launch(
            triton_learning.loss, logits.shape[0], logits.contiguous(), labels.contiguous(), *self._powers,
            out, logits.shape[1], labels.shape[1], label, scale - LOGIT, block=BLOCK,
        )  # fmt: skip
        return out

    def velocity(
        self, speed: torch.Tensor, gradient: torch.Tensor, noise: torch.Tensor, *,
        shift: int, friction: int, limit: int,
    ) -> torch.Tensor:  # fmt: skip
        """See `TrainingBackend.velocity`."""
        out = self._empty(speed, torch.int32)
        launch(
            triton_learning.velocity, blocks_of(out.numel()), speed.contiguous(), gradient.contiguous(),
            noise.contiguous(), out, out.numel(), shift, half(friction), friction, limit, block=BLOCK,
        )  # fmt: skip
        return out

    def descend(self, master: torch.Tensor, speed: torch.Tensor, *, limit: int) -> torch.Tensor:
        """See `TrainingBackend.descend`."""
        out = self._empty(master, torch.int32)
        launch(
            triton_learning.descend, blocks_of(out.numel()), master.contiguous(), speed.contiguous(), out,
            out.numel(), limit, block=BLOCK,
        )  # fmt: skip
        return out

    def _empty(self, like: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        return torch.empty(like.shape, dtype=dtype, device=self._device)
