"""What a step of a language model's training learns from: windows of a text.

Which windows follows from a seed, the index of a shard and the number of a sequence alone, so a shard can be
neither chosen nor known in advance, and a verifier makes the few rows that it needs.
"""

import numpy as np

from pouw.arithmetic.generator import random_below
from pouw.tensors import Array


def text_batch(text: Array, *, seed: bytes, index: int, sequences: int, tokens: int) -> Array:
    """A shard: windows of a text, one below the other.

    Args:
        text: tokens [n], at least `tokens` of them, in the type that the program reads.
        seed: not known before whoever trains is bound to it; on a chain, of the beacon and the miner's key.
        index: number of the shard.
        sequences: how many windows.
        tokens: of each.

    Returns:
        [sequences * tokens, 1].
    """
    starts = (_start(text, seed, index=index, sequence=i, tokens=tokens) for i in range(sequences))
    return np.concatenate([text[start : start + tokens] for start in starts]).reshape(-1, 1)


def text_row(text: Array, *, seed: bytes, index: int, row: int, tokens: int) -> Array:
    """One row of `text_batch`, made without the others, [1]."""
    sequence, token = divmod(row, tokens)
    place = _start(text, seed, index=index, sequence=sequence, tokens=tokens) + token
    return text[place : place + 1]


def text_windows(text: Array, tokens: int) -> Array:
    """The windows of a text, one after the other, without what is left over at its end."""
    count = len(text) // tokens
    return text[: count * tokens].reshape(-1, 1)


def _start(text: Array, seed: bytes, *, index: int, sequence: int, tokens: int) -> int:
    return int(random_below(seed, path=(index, sequence), bound=len(text) - tokens + 1, count=1)[0])
