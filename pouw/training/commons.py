"""Images for the commons: fresh inputs that nobody chose.

Each input row is an image of a data set, moved by up to one pixel and overlaid with noise, all drawn from a
seed that the caller makes of the chain's beacon and the miner's key. So a miner can neither pick easy
inputs nor reuse answers: with three bits of noise for each of 64 pixels no input comes twice.

    bytes of the row's stream   meaning
    0..7                        u64 modulo n: which image
    8                           modulo 9: the move; 0..8 = (dy, dx) from (-1,-1) to (1,1), x first
    9..72                       one per pixel: noise = (b & 3) - (b >> 2 & 3), from -3 to 3, 0 likeliest
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from pouw.arithmetic.generator import random_bytes

SIDE: Final = 8
"""Images are SIDE x SIDE."""

PIXELS: Final = SIDE * SIDE

PIXEL_MAX: Final = 16
"""Pixels go from 0, paper, to 16, ink, as in the UCI data set."""

ROW_BYTES: Final = 8 + 1 + PIXELS
"""Bytes of its stream that an image is made of."""


def _moves() -> NDArray[np.intp]:
    """For each of 9 moves and each pixel: the pixel it takes its value from; number PIXELS is paper."""
    frame = np.full((SIDE + 2, SIDE + 2), PIXELS, np.intp)
    frame[1:-1, 1:-1] = np.arange(PIXELS).reshape(SIDE, SIDE)
    return np.stack(
        [frame[1 - dy : 9 - dy, 1 - dx : 9 - dx].reshape(-1) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
    )


_MOVES: Final = _moves()


def commons_row(dataset: NDArray[np.int8], *, seed: bytes, index: int, row: int) -> NDArray[np.int8]:
    """One row of a commons unit's input, made without the others.

    Args:
        dataset: int8 [n, 64], pixels 0..16.
        seed: not known before the miner is bound to it, and different for every miner.
        index: number of the unit.
        row: row within the unit.

    Returns:
        int8 [64], pixels 0..16.
    """
    alone: NDArray[np.int8] = _draw(dataset, seed=seed, index=index, rows=range(row, row + 1))[0]
    return alone


def commons_image(count: int, *, seed: bytes, index: int, row: int) -> int:
    """Which image a row of a commons unit shows.

    Args:
        count: images in the data set.
        seed: see `commons_row`.
        index: see `commons_row`.
        row: see `commons_row`.
    """
    return int.from_bytes(random_bytes(seed, path=(index, row), count=8), "little") % count


def commons_batch(dataset: NDArray[np.int8], *, seed: bytes, index: int, batch: int) -> NDArray[np.int8]:
    """A commons unit's input.

    Args:
        dataset: see `commons_row`.
        seed: see `commons_row`.
        index: number of the unit.
        batch: its rows.

    Returns:
        int8 [batch, 64], pixels 0..16; row r is `commons_row(..., row=r)`.
    """
    return _draw(dataset, seed=seed, index=index, rows=range(batch))


def _draw(dataset: NDArray[np.int8], *, seed: bytes, index: int, rows: range) -> NDArray[np.int8]:
    stream = b"".join(random_bytes(seed, path=(index, row), count=ROW_BYTES) for row in rows)
    return drawn_images(dataset, np.frombuffer(stream, np.uint8).reshape(len(rows), ROW_BYTES))


def drawn_images(dataset: NDArray[np.int8], drawn: NDArray[np.uint8]) -> NDArray[np.int8]:
    """The images that the rows' streams say.

    Args:
        dataset: see `commons_row`.
        drawn: [n, at least ROW_BYTES], the beginning of each row's stream.

    Returns:
        int8 [n, 64], pixels 0..16.
    """
    assert dataset.ndim == 2 and dataset.shape[1] == PIXELS, f"images of {dataset.shape[1:]}, not {PIXELS}"
    images = np.ascontiguousarray(drawn[:, :8]).view("<u8")[:, 0] % np.uint64(len(dataset))
    bare = np.zeros((len(drawn), PIXELS + 1), np.int8)
    bare[:, :PIXELS] = dataset[images]
    moved: NDArray[np.int8] = np.take_along_axis(bare, _MOVES[drawn[:, 8] % 9], axis=1)
    noise = drawn[:, 9:ROW_BYTES]
    moved += (noise & 3).view(np.int8)
    moved -= (noise >> 2 & 3).view(np.int8)
    np.maximum(moved, 0, out=moved)
    np.minimum(moved, PIXEL_MAX, out=moved)
    return moved
