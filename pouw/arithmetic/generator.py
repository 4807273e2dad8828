"""The integer generator: all randomness of this package, from a seed, a path and a position.

Value n of a stream is a pure function of (seed, path, n): the stream is BLAKE3's extendable output under a
key made of the seed and the path, whose 64-byte blocks are numbered by a counter. So any stretch can be had
alone, on any machine, and nothing about a stream can be told before its seed is known.

    key    = BLAKE3(domain key; length(seed) as u32 | seed | path, each number as u64)
    stream = BLAKE3 XOF (key; empty input)
"""

from typing import Final

import numpy as np
from blake3 import blake3
from numpy.typing import NDArray

from pouw.hashing import domain, framed, keyed, u64

_STREAM: Final = domain("generator")


def random_bytes(seed: bytes, *, path: tuple[int, ...], count: int, start: int = 0) -> bytes:
    """A stretch of a stream.

    Args:
        seed: any bytes.
        path: numbers below 2^64 that name the stream under its seed.
        count: bytes wanted.
        start: position of the first of them.
    """
    key = keyed(_STREAM, framed(seed) + b"".join(map(u64, path)))
    return blake3(key=key).digest(count, seek=start)


def random_below(seed: bytes, *, path: tuple[int, ...], bound: int, count: int) -> NDArray[np.int64]:
    """Numbers from 0 to bound - 1: each the next 8 bytes of the stream, little endian, modulo bound.

    The bias is below bound / 2^64.

    Args:
        seed: see `random_bytes`.
        path: see `random_bytes`.
        bound: 1..2^32.
        count: how many.
    """
    assert 1 <= bound <= 1 << 32, f"bound {bound} outside 1..2^32"
    words = np.frombuffer(random_bytes(seed, path=path, count=8 * count), np.dtype("<u8"))
    return (words % np.uint64(bound)).astype(np.int64)


def permutation(seed: bytes, *, path: tuple[int, ...], count: int) -> NDArray[np.int64]:
    """The numbers 0..count-1, ordered by their 8-byte words of the stream; equal words by number."""
    words = np.frombuffer(random_bytes(seed, path=path, count=8 * count), np.dtype("<u8"))
    return np.argsort(words, kind="stable")
