"""Torch tensors of the host as the arrays that compiled loops take."""

import torch

from pouw.tensors import Array


def host(tensor: torch.Tensor) -> Array:
    """The tensor's own memory, or a copy of it if it is not contiguous."""
    array: Array = tensor.contiguous().numpy()
    return array
