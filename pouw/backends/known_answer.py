"""The known-answer test that every backend must pass before it may do work.

A fast path that is wrong only for extreme values, or only for long sums, looks right for years on ordinary
data: int8 products on instruction sets without an exact multiply-accumulate saturate in pairs, float32 sums
lose their last bit past k = 1,040. The cases below are the ones that showed it, and the answer is pinned.
"""

from collections.abc import Iterator
from typing import Final

import numpy as np
from blake3 import blake3
from numpy.typing import NDArray

from pouw.arithmetic.generator import random_bytes
from pouw.arithmetic.requant import Requant
from pouw.backends.answers import filled
from pouw.backends.backend import Backend, BackendError
from pouw.backends.known_encoder import ENCODER_ANSWER, encoder_digest
from pouw.backends.known_training import TRAINING_ANSWER, training_digest
from pouw.backends.known_transformer import TRANSFORMER_ANSWER, transformer_digest
from pouw.backends.known_transformer_training import (
    TRANSFORMER_TRAINING_ANSWER,
    transformer_training_digest,
)

ANSWER: Final = "b5785e3d1d2f5cb853cd20a320e32479e3d7ebd3bbfde1e87507883eddac2e85"
"""BLAKE3 over all results below, from the reference backend; checked against plain Python integers in the
tests."""

_SHAPES: Final = (
    (1, 1, 1), (5, 1, 3),
    (1, 64, 10), (3, 2, 5), (16, 64, 128), (17, 24, 8), (32, 128, 64), (5, 1024, 7), (5, 1025, 7),
    (33, 1040, 9), (33, 1041, 9), (4, 4096, 16), (32, 64, 64), (2, 131071, 2),
)  # fmt: skip
"""(m, k, n): around every padding, blocking and rounding limit known of the fast paths."""

_FILLS: Final = ((127, 127), (-128, -128), (127, -128), (-127, 127), (None, None), (None, -128), (127, None))
"""What A and B hold: one extreme value, or pseudo-random int8 of the full range."""

_REQUANTS: Final = (
    Requant(1, 0),
    Requant(1, 6, low=0),
    Requant((1 << 30) - 1, 45, low=-128),
    Requant(3, 9, low=-128, table=bytes((7 * i + 3) & 255 for i in range(256))),
)


def check_backend(backend: Backend) -> None:
    """Run the test.

    Args:
        backend: the one that wants to serve.

    Raises:
        BackendError: if a single bit differs.
    """
    for does, answer, answered in PARTS:
        got = answered(backend)
        if got != answer:
            raise BackendError(
                f"{backend.name} {does} wrongly on this machine: known answer {answer}, got {got}"
            )


def _plain_digest(backend: Backend) -> str:
    digest = blake3()
    for result in _results(backend):
        digest.update(result)
    return digest.hexdigest()


PARTS: Final = (
    ("computes", ANSWER, _plain_digest),
    ("trains", TRAINING_ANSWER, training_digest),
    ("computes transformers", TRANSFORMER_ANSWER, transformer_digest),
    ("encodes", ENCODER_ANSWER, encoder_digest),
    ("trains transformers", TRANSFORMER_TRAINING_ANSWER, transformer_training_digest),
)
"""What a backend does, the pinned answer, and how it is asked."""


def _results(backend: Backend) -> Iterator[bytes]:
    for case, (m, k, n) in enumerate(_SHAPES):
        for fill, (of_a, of_b) in enumerate(_FILLS):
            a = _fill(m, k, value=of_a, path=(case, fill, 0))
            b = _fill(n, k, value=of_b, path=(case, fill, 1))
            bias = _bias(n, path=(case, fill, 2))
            # Beyond 2^30 a bias could leave int32, which no program may ask for.
            small = k * 16384 < 1 << 30
            operands = backend.put(a), backend.put(b)
            product = backend.matmul_nt(*operands, bias=None, requant=None)
            yield backend.get(product).tobytes()
            yield backend.get(backend.argmax(product)).tobytes()
            requant = _REQUANTS[(case + fill) % len(_REQUANTS)]
            with_bias = backend.put(bias) if small else None
            yield backend.get(backend.matmul_nt(*operands, bias=with_bias, requant=requant)).tobytes()


def _fill(rows: int, cols: int, *, value: int | None, path: tuple[int, ...]) -> NDArray[np.int8]:
    return filled(b"known answer", rows, cols, value=value, path=path)


def _bias(rows: int, *, path: tuple[int, ...]) -> NDArray[np.int32]:
    noise = np.frombuffer(random_bytes(b"known answer", path=path, count=4 * rows), np.dtype("<i4"))
    return (noise >> 1).reshape(rows, 1)
