"""What a step of training learns from: fresh images with their labels, and the noise that rounds by chance.

A row follows from a seed, the index of a shard and its own number alone, so a shard can be neither chosen
nor computed in advance, and a verifier makes the few rows that it needs.

    columns of a row     meaning
    0..63                pixels, see `pouw.training.commons`
    64                   the label
    65..                 noise: one byte per number of every layer's gradient, last layer first

The noise is the rest of the row's stream, from byte NOISE_START on.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pouw.arithmetic.generator import random_bytes
from pouw.training.commons import PIXELS, drawn_images

NOISE_START: Final = 128
"""Beyond the 73 bytes of its stream that a commons row is made of."""


@dataclass(frozen=True, slots=True)
class TrainingImages:
    """Images to learn from.

    Args:
        images: int8 [n,64], pixels 0..16.
        labels: int8 [n].
    """

    images: NDArray[np.int8]
    labels: NDArray[np.int8]

    def __post_init__(self) -> None:
        assert self.images.shape == (len(self.labels), PIXELS), f"{self.images.shape}, {self.labels.shape}"


def training_batch(
    data: TrainingImages, *, seed: bytes, index: int, batch: int, noise: int
) -> NDArray[np.int8]:
    """A shard.

    Args:
        data: what to learn from.
        seed: not known before whoever trains is bound to it.
        index: number of the shard.
        batch: its rows.
        noise: bytes of noise per row.

    Returns:
        int8 [batch, 65 + noise].
    """
    streams = b"".join(_stream(seed, index=index, row=row, noise=noise) for row in range(batch))
    return _made(data, streams, rows=batch)


def training_row(data: TrainingImages, *, seed: bytes, index: int, row: int, noise: int) -> NDArray[np.int8]:
    """One row of `training_batch`, made without the others."""
    alone: NDArray[np.int8] = _made(data, _stream(seed, index=index, row=row, noise=noise), rows=1)[0]
    return alone


def _stream(seed: bytes, *, index: int, row: int, noise: int) -> bytes:
    return random_bytes(seed, path=(index, row), count=NOISE_START + noise)


def _made(data: TrainingImages, streams: bytes, *, rows: int) -> NDArray[np.int8]:
    """Images, the labels of those that the streams name, and the streams' noise."""
    drawn = np.frombuffer(streams, np.uint8).reshape(rows, -1)
    chosen = np.ascontiguousarray(drawn[:, :8]).view("<u8")[:, 0] % np.uint64(len(data.labels))
    labels = data.labels[chosen.astype(np.int64)].reshape(-1, 1)
    noise = drawn[:, NOISE_START:].view(np.int8)
    return np.concatenate([drawn_images(data.images, drawn), labels, noise], axis=1)
