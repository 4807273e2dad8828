"""What the parts of the known-answer test have in common: operands, and a digest of results."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from blake3 import blake3
from numpy.typing import NDArray

from pouw.arithmetic.generator import random_bytes
from pouw.backends.backend import Backend


def digest_of(backend: Backend, results: Iterable[Any]) -> str:
    """BLAKE3 over results with their shapes and types, in hex.

    Args:
        backend: where they lie.
        results: each made when it is asked for.
    """
    digest = blake3()
    for result in results:
        array = backend.get(result)
        digest.update(repr((array.shape, array.dtype.str)).encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def filled(
    seed: bytes, rows: int, cols: int, *, value: int | None, path: tuple[int, ...]
) -> NDArray[np.int8]:
    """int8 [rows, cols] of one value, or of pseudo-random ones of the full range if it is None."""
    if value is not None:
        return np.full((rows, cols), value, np.int8)
    noise = random_bytes(seed, path=path, count=rows * cols)
    return np.frombuffer(noise, np.int8).reshape(rows, cols)
