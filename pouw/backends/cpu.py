"""The torch backend for CPUs. The only file of this package that imports torch."""

import os
from typing import Final

# oneDNN capped to an older instruction set sums int8 products with saturation: wrong bits, no error. The
# variable, which has two names, is read once, at the first product at the latest, so it goes first.
os.environ.pop("ONEDNN_MAX_CPU_ISA", None)
os.environ.pop("DNNL_MAX_CPU_ISA", None)

import numpy as np
import torch

from pouw.arithmetic.requant import Requant
from pouw.backends.backend import BackendError
from pouw.backends.cpu_training import CpuTraining
from pouw.backends.cpu_transformer import CpuTransformer
from pouw.backends.known_answer import check_backend
from pouw.backends.parallel import HOST_THREADS, stay_on_thread
from pouw.backends.products import whole_product
from pouw.backends.torch_encoder import TorchEncoder
from pouw.backends.torch_transformer_training import TorchTransformerTraining
from pouw.tensors import Array, DType, index_dtype

_CHUNK: Final = 1024
"""Products of int8 values sum exactly in float32 up to here: 1,024 * 128 * 128 = 2^24."""

_TORCH: Final = {
    DType.INT8: torch.int8,
    DType.INT16: torch.int16,
    DType.INT32: torch.int32,
    DType.INT64: torch.int64,
}


class CpuBackend:
    """Runs on the host's torch.

    Args:
        fast: multiply with `torch._int_mm`; else in float32 by chunks of 1,024, which every CPU does exactly.
        threads: how many of our own may compute; torch keeps to the caller's.
    """

    def __init__(self, *, fast: bool, threads: int = 1) -> None:
        self._fast = fast
        self._threads = threads
        self._training = CpuTraining()
        self._transformer = CpuTransformer(self._multiply)
        self._transformer_training = TorchTransformerTraining(self._multiply)
        self._encoder = TorchEncoder(self._multiply)

    @property
    def name(self) -> str:
        """See `Backend.name`."""
        return f"cpu (torch {torch.__version__}, {'int8' if self._fast else 'float32 by chunks'})"

    @property
    def fast(self) -> bool:
        """Whether it multiplies with `torch._int_mm`."""
        return self._fast

    @property
    def threads(self) -> int:
        """How many may compute."""
        return self._threads

    @property
    def training(self) -> CpuTraining:
        """See `Backend.training`."""
        return self._training

    @property
    def transformer(self) -> CpuTransformer:
        """See `Backend.transformer`."""
        return self._transformer

    @property
    def transformer_training(self) -> TorchTransformerTraining:
        """See `Backend.transformer_training`."""
        return self._transformer_training

    @property
    def encoder(self) -> TorchEncoder:
        """See `Backend.encoder`."""
        return self._encoder

    @property
    def rows(self) -> None:
        """See `Backend.rows`."""

    def put(self, array: Array) -> torch.Tensor:
        """See `Backend.put`."""
        # torch wants to be told that nobody writes here; a read-only array would draw a warning.
        return torch.from_numpy(array if array.flags.writeable else array.copy())

    def get(self, tensor: torch.Tensor) -> Array:
        """See `Backend.get`."""
        host: Array = tensor.contiguous().numpy()
        return host

    def matmul_nt(
        self, a: torch.Tensor, b: torch.Tensor, *, bias: torch.Tensor | None, requant: Requant | None
    ) -> torch.Tensor:
        """See `Backend.matmul_nt`."""
        total = self._multiply(a, b)
        if bias is not None:
            total += bias.t()
        return total if requant is None else _requant(total, requant)

    def argmax(self, a: torch.Tensor) -> torch.Tensor:
        """See `Backend.argmax`."""
        cols = a.shape[1]
        # The first of equals, by arithmetic rather than by the library's promise: value first, then lowest
        # column.
        rank = a.to(torch.int64) * cols + torch.arange(cols - 1, -1, -1)
        best = cols - 1 - torch.remainder(rank.amax(dim=1, keepdim=True), cols)
        return best.to(_TORCH[index_dtype(cols)])

    def _multiply(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return whole_product(self._on_thread, a, b, threads=self._threads)

    def _on_thread(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        # Asked for, the number that `stay_on_thread` set also holds in a thread that torch has not seen yet.
        assert torch.get_num_threads() >= 1
        # With one column torch 2.13 mistakes the transpose's strides and reads beyond the matrix.
        fast = self._fast and a.shape[1] > 1
        return torch._int_mm(a, b.t()) if fast else _by_chunks(a, b)


def open_cpu(*, threads: int | None = None) -> CpuBackend:
    """The fastest way to multiply that passes the known-answer test on this machine, with torch alone.

    Args:
        threads: how many may compute; None for what torch would take. torch itself is kept to one.

    Raises:
        BackendError: if none does.
    """
    stay_on_thread()
    for fast in (True, False):
        backend = CpuBackend(fast=fast, threads=HOST_THREADS if threads is None else threads)
        try:
            check_backend(backend)
        except BackendError:
            if not fast:
                raise
        else:
            return backend
    raise AssertionError("the loop returns or raises")


def _by_chunks(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    total = torch.zeros(a.shape[0], b.shape[0], dtype=torch.int32)
    for start in range(0, a.shape[1], _CHUNK):
        left, right = (x[:, start : start + _CHUNK].to(torch.float32) for x in (a, b))
        total += (left @ right.t()).to(torch.int32)
    return total


def _requant(total: torch.Tensor, requant: Requant) -> torch.Tensor:
    wide = total.to(torch.int64).mul_(requant.multiplier).add_(requant.rounding)
    wide = wide.bitwise_right_shift_(requant.shift).clamp_(requant.low, requant.high)
    if requant.table is None:
        return wide.to(torch.int8)
    table = torch.from_numpy(np.frombuffer(requant.table, np.int8).copy())
    return table[wide + 128]
