"""The torch backend for NVIDIA GPUs: products by cuBLASLt, everything else in Triton's kernels.

What is committed stays where it is and is hashed there, on a stream of its own, while the next op computes;
what a proof opens is fetched when it is.
"""

import logging
import os
from typing import Any, Final

# As in `pouw.backends.cpu`, whose ops a few of this backend's go through.
os.environ.pop("ONEDNN_MAX_CPU_ISA", None)
os.environ.pop("DNNL_MAX_CPU_ISA", None)

import numpy as np
import torch
from triton.errors import TritonError

from pouw.arithmetic.requant import Requant
from pouw.backends import triton_products
from pouw.backends.backend import BackendError
from pouw.backends.cpu import CpuBackend, open_cpu
from pouw.backends.cuda_products import padded_product
from pouw.backends.cuda_rows import CudaRows
from pouw.backends.cuda_training import CudaTraining
from pouw.backends.cuda_transformer import CudaTransformer
from pouw.backends.known_answer import check_backend
from pouw.backends.known_encoder import ENCODER_ANSWER, encoder_digest
from pouw.backends.known_rows import check_rows
from pouw.backends.known_transformer_training import (
    TRANSFORMER_TRAINING_ANSWER,
    transformer_training_digest,
)
from pouw.backends.row_hashing import RowHashing
from pouw.backends.through_host import ThroughHost
from pouw.backends.torch_encoder import TorchEncoder
from pouw.backends.torch_tensors import TORCH_TYPES
from pouw.backends.torch_transformer_training import TorchTransformerTraining
from pouw.backends.triton_kernel import BLOCK, blocks_of, launch
from pouw.tensors import Array, index_dtype

_LOG: Final = logging.getLogger("headrace.work")

_LEAST: Final = (8, 0)
"""Compute capability of the first GPUs that Triton compiles int8 products for."""


class CudaBackend:
    """Runs on one GPU; on the host, with Triton's interpreter, in tests.

    Args:
        device: where.
        fast: multiply with `torch._int_mm`; else in float32 by chunks.
        host: the CPU's backend, for ops that have no kernel here.
    """

    def __init__(self, device: torch.device, *, fast: bool, host: CpuBackend) -> None:
        self._device = device
        self._fast = fast
        self._host = host
        self._rows: RowHashing | None = CudaRows(device)
        self._training = CudaTraining(device)
        self._transformer = CudaTransformer(self._padded, device)
        self._transformer_training: Any = TorchTransformerTraining(self._product, device)
        self._encoder: Any = TorchEncoder(self._product, device)

    @property
    def name(self) -> str:
        """See `Backend.name`."""
        what = torch.cuda.get_device_name(self._device) if self._device.type == "cuda" else "interpreter"
        how = "int8" if self._fast else "float32 by chunks"
        return f"{self._device} ({what}, torch {torch.__version__}, {how})"

    @property
    def device(self) -> torch.device:
        """Where it runs."""
        return self._device

    @property
    def training(self) -> CudaTraining:
        """See `Backend.training`."""
        return self._training

    @property
    def transformer(self) -> CudaTransformer:
        """See `Backend.transformer`."""
        return self._transformer

    @property
    def transformer_training(self) -> Any:
        """See `Backend.transformer_training`."""
        return self._transformer_training

    @property
    def encoder(self) -> Any:
        """See `Backend.encoder`."""
        return self._encoder

    @property
    def rows(self) -> RowHashing | None:
        """See `Backend.rows`."""
        return self._rows

    def test_parts(self) -> None:
        """Leave to the host what torch's own ops give otherwise here: training transformers, encoders."""
        for part, answer, answered in (
            ("transformer_training", TRANSFORMER_TRAINING_ANSWER, transformer_training_digest),
            ("encoder", ENCODER_ANSWER, encoder_digest),
        ):
            try:
                wrong = "" if answered(self) == answer else "it computes wrongly"
            except RuntimeError as error:
                wrong = str(error)
            if wrong:
                setattr(self, f"_{part}", ThroughHost(getattr(self._host, part), self._device))
                _LOG.warning("%s goes through the host, not %s: %s", part, self._device, wrong)

    def test_rows(self) -> None:
        """Leave hashing to the host if one bit of a tree differs here."""
        try:
            check_rows(self)
        except (BackendError, RuntimeError, TritonError) as error:
            self._rows = None
            _LOG.warning("tensors of %s are hashed on the host: %s", self._device, error)

    def put(self, array: Array) -> torch.Tensor:
        """See `Backend.put`."""
        tensor = torch.from_numpy(array if array.flags.writeable else array.copy())
        return tensor.to(self._device)

    def get(self, tensor: torch.Tensor) -> Array:
        """See `Backend.get`."""
        host: Array = tensor.cpu().contiguous().numpy()
        return host

    def matmul_nt(
        self, a: torch.Tensor, b: torch.Tensor, *, bias: torch.Tensor | None, requant: Requant | None
    ) -> torch.Tensor:
        """See `Backend.matmul_nt`."""
        if requant is None:
            exact = self._product(a, b)
            return exact if bias is None else exact.add_(bias.t())
        total = self._padded(a, b)
        out = torch.empty((a.shape[0], b.shape[0]), dtype=torch.int8, device=self._device)
        table = out if requant.table is None else self._table(requant.table)
        launch(
            triton_products.requant, blocks_of(out.numel()), total,
            total if bias is None else bias.contiguous(), table, out, out.numel(), out.shape[1],
            total.stride(0), requant.multiplier, requant.rounding, requant.shift, requant.low, requant.high,
            with_bias=bias is not None, with_table=requant.table is not None, block=BLOCK,
        )  # fmt: skip
        return out

    def argmax(self, a: torch.Tensor) -> torch.Tensor:
        """See `Backend.argmax`."""
        cols = a.shape[1]
        # Value first, then lowest column: the first of equals whatever the library does with ties.
        lowest = torch.arange(cols - 1, -1, -1, device=self._device)
        rank = a.to(torch.int64) * cols + lowest
        best = cols - 1 - torch.remainder(rank.amax(dim=1, keepdim=True), cols)
        return best.to(TORCH_TYPES[index_dtype(cols)])

    def _product(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return self._padded(a, b)[: a.shape[0], : b.shape[0]].contiguous()

    def _padded(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return padded_product(a, b, fast=self._fast)

    def _table(self, table: bytes) -> torch.Tensor:
        return torch.from_numpy(np.frombuffer(bytearray(table), np.int8)).to(self._device)


def open_cuda(index: int) -> CudaBackend:
    """A GPU that passes the known-answer test, by the fastest way of multiplying that does.

    Args:
        index: of the GPU.

    Raises:
        BackendError: there is none of this number, it is too old, or it computes wrongly.
    """
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if index >= count:
        raise BackendError(f"no GPU number {index}: torch {torch.__version__} sees {count}")
    found = torch.cuda.get_device_capability(index)
    if found < _LEAST:
        raise BackendError(f"GPU {index} has compute capability {found}, the kernels need {_LEAST}")
    # Sums of int8 products are exact in float32, not in the shorter formats that may stand in for it.
    torch.backends.cuda.matmul.allow_tf32 = False
    host = open_cpu()
    for fast in (True, False):
        backend = CudaBackend(torch.device("cuda", index), fast=fast, host=host)
        try:
            backend.test_parts()
            check_backend(backend)
        except (BackendError, RuntimeError) as error:
            # cuBLASLt refuses shapes and types on some GPUs with a RuntimeError.
            if not fast:
                raise BackendError(f"GPU {index}: {error}") from error
        else:
            backend.test_rows()
            return backend
    raise AssertionError("the loop returns or raises")
