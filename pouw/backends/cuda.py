"""The torch backend for NVIDIA GPUs."""

import torch

from pouw.backends.backend import Backend, BackendError


def open_cuda(index: int) -> Backend:
    """A GPU that passes the known-answer test.

    Raises:
        BackendError: there is none of this number, or it computes wrongly.
    """
    raise BackendError(f"no GPU number {index}: torch {torch.__version__} sees {torch.cuda.device_count()}")
