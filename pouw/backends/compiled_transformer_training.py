"""The CPU backend's part for training transformers with compiled loops after torch's products."""

from functools import partial

import torch

from pouw.arithmetic.transformer_rows import NORM_BITS, ROOT_SUM_MAX
from pouw.arithmetic.transformer_training_rows import ERROR_LIMIT, GUARD
from pouw.backends.host import host
from pouw.backends.parallel import in_stretches
from pouw.backends.products import product_in_stretches
from pouw.backends.torch_tensors import TORCH_TYPES, Multiply
from pouw.backends.torch_transformer_training import TorchTransformerTraining
from pouw.kernels.backward import join_rows, lion_rows, norm_gradient_rows, split_rows
from pouw.tensors import DType


class CompiledTransformerTraining(TorchTransformerTraining):
    """See `pouw.backends.transformer_training.TransformerTraining`; what is not here is torch's.

    Args:
        multiply: how int8 matrices are multiplied on this machine.
        threads: how many may run.
    """

    def __init__(self, multiply: Multiply, threads: int) -> None:
        super().__init__(multiply)
        self._threads = threads

    def wide_linear(
        self, a: torch.Tensor, b: torch.Tensor, onto: torch.Tensor | None, noise: torch.Tensor | None, *,
        shift: int, limit: int, dtype: DType,
    ) -> torch.Tensor:  # fmt: skip
        """See `pouw.ops.wide_linear`."""
        if noise is not None:
            return super().wide_linear(a, b, onto, noise, shift=shift, limit=limit, dtype=dtype)
        rows, depth = a.shape
        both = torch.empty((2 * rows, depth), dtype=torch.int8)
        in_stretches(partial(split_rows, host(a), host(both)), rows, values=a.numel(), threads=self._threads)
        out = torch.empty((rows, len(b)), dtype=TORCH_TYPES[dtype])
        there = host(out)
        below = there if onto is None else host(onto)

        def joined(products: torch.Tensor, column: int) -> None:
            join_rows(host(products), below, onto is not None, shift, limit, there, column)

        product_in_stretches(self._multiply, both, b, joined, threads=self._threads)
        return out

    def norm_gradient(
        self, x: torch.Tensor, errors: torch.Tensor, onto: torch.Tensor | None, *, epsilon: int, shift: int
    ) -> torch.Tensor:
        """See `pouw.ops.norm_gradient`."""
        out = torch.empty(x.shape, dtype=torch.int16)
        below = host(out if onto is None else onto)
        some = partial(
            norm_gradient_rows, host(x), host(errors), below, onto is not None, epsilon, shift, ROOT_SUM_MAX,
            NORM_BITS, GUARD, ERROR_LIMIT, host(out),
        )  # fmt: skip
        in_stretches(some, len(x), values=x.numel(), threads=self._threads)
        return out

    def lion(
        self, master: torch.Tensor, momentum: torch.Tensor, gradient: torch.Tensor, *,
        rate: int, fade: int, keep: int, lift: int, limit: int,
    ) -> torch.Tensor:  # fmt: skip
        """See `pouw.ops.lion`."""
        out = torch.empty_like(master)
        some = partial(
            lion_rows, host(master), host(momentum), host(gradient), rate, fade, keep, lift, limit, host(out)
        )
        in_stretches(some, len(master), values=master.numel(), threads=self._threads)
        return out
