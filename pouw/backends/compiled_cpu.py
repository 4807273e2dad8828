"""The CPU backend with numba's loops where torch would take one pass over memory for every step."""

from typing import Final

import numpy as np
import torch

from pouw.arithmetic.requant import Requant
from pouw.backends.compiled_training import CompiledTraining
from pouw.backends.compiled_transformer import CompiledTransformer
from pouw.backends.compiled_transformer_training import CompiledTransformerTraining
from pouw.backends.cpu import CpuBackend
from pouw.backends.host import host
from pouw.backends.products import product_in_stretches
from pouw.backends.torch_tensors import TORCH_TYPES
from pouw.kernels.products import greatest_rows, requant_rows
from pouw.tensors import index_dtype

_NO_BIAS: Final = np.zeros(0, np.int32)
_NO_TABLE: Final = np.zeros(0, np.int8)


class CompiledCpu(CpuBackend):
    """See `CpuBackend`: the same tensors, the same products, so the two may take turns within a program."""

    def __init__(self, *, fast: bool, threads: int = 1) -> None:
        super().__init__(fast=fast, threads=threads)
        self._training = CompiledTraining(threads)
        self._transformer = CompiledTransformer(self._on_thread, threads)
        self._transformer_training = CompiledTransformerTraining(self._on_thread, threads)

    @property
    def name(self) -> str:
        """See `Backend.name`."""
        return f"{super().name[:-1]}, compiled)"

    def matmul_nt(
        self, a: torch.Tensor, b: torch.Tensor, *, bias: torch.Tensor | None, requant: Requant | None
    ) -> torch.Tensor:
        """See `Backend.matmul_nt`."""
        if requant is None:
            return super().matmul_nt(a, b, bias=bias, requant=None)
        out = torch.empty((a.shape[0], b.shape[0]), dtype=torch.int8)
        there, added = host(out), _NO_BIAS if bias is None else host(bias).reshape(-1)
        table = _NO_TABLE if requant.table is None else np.frombuffer(bytearray(requant.table), np.int8)
        constants = (requant.multiplier, requant.shift, requant.low, requant.high)

        def narrowed(total: torch.Tensor, column: int) -> None:
            looked_up = requant.table is not None
            requant_rows(host(total), added, bias is not None, *constants, table, looked_up, there, column)

        product_in_stretches(self._on_thread, a, b, narrowed, threads=self._threads)
        return out

    def argmax(self, a: torch.Tensor) -> torch.Tensor:
        """See `Backend.argmax`."""
        out = torch.empty((a.shape[0], 1), dtype=TORCH_TYPES[index_dtype(a.shape[1])])
        greatest_rows(host(a), host(out), 0, a.shape[0])
        return out
