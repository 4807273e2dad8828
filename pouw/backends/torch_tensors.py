"""What all parts in torch share: its names of our types, and the stretches in which loops of ops run."""

from collections.abc import Callable, Iterator
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from pouw.tensors import DType

CPU: Final = torch.device("cpu")

TORCH_TYPES: Final = {
    DType.INT8: torch.int8,
    DType.INT16: torch.int16,
    DType.INT32: torch.int32,
    DType.INT64: torch.int64,
}
"""What torch calls the types."""

Multiply = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""A[m,k] · B[n,k]ᵀ of int8, exact in int32."""

_BLOCK: Final = 1 << 16
"""On the host: 512 KiB of int64 stay in the second-level cache."""

_LARGE_BLOCK: Final = 1 << 24
"""Elsewhere, where launches count, and memory is the limit."""


def table_on(device: torch.device, table: NDArray[np.signedinteger]) -> torch.Tensor:
    """A copy of a table, which may be read-only here, where an op looks things up in it."""
    return torch.from_numpy(table.copy()).to(device)


def blocks(tensor: torch.Tensor) -> Iterator[slice]:
    """The rows that elementwise steps treat at a time."""
    block = _BLOCK if tensor.device == CPU else _LARGE_BLOCK
    step = max(1, block // tensor.shape[1])
    for start in range(0, tensor.shape[0], step):
        yield slice(start, start + step)


def spread(noise: torch.Tensor, shift: int) -> torch.Tensor:
    """See `pouw.arithmetic.stochastic.spread`, in int32."""
    u = noise.to(torch.int32).add_(128)
    if shift <= 8:
        return u.bitwise_right_shift_(8 - shift)
    return u.bitwise_left_shift_(shift - 8).add_(1 << (shift - 9))
