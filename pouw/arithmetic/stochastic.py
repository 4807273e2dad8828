"""Stochastic rounding: a number is rounded up as often as its fraction says, so that small gradients survive.

What is added before the shift comes from one byte per number, taken as the int8 that tensors are made of:

    u      = byte + 128, from 0 to 255
    spread = u >> (8 - shift)                                    shift <= 8: every remainder alike
           = (u << (shift - 8)) + (1 << (shift - 9))             shift > 8: 256 of them, centred

Nothing here knows where the bytes come from. Those of an image's gradients are part of its input row, so
that they go with the image into whatever batch it lands in; those of an update follow from the step's seed.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from pouw.arithmetic.generator import random_bytes
from pouw.program_error import ProgramError, ProgramReason

MAX_STOCHASTIC_SHIFT: Final = 24
"""Leaves the sum room in int32."""


def spread(noise: NDArray[np.signedinteger], shift: int) -> NDArray[np.int64]:
    """What is added before a shift.

    Args:
        noise: int8.
        shift: 0..MAX_STOCHASTIC_SHIFT.

    Returns:
        int64 from 0 to 2^shift - 1; for a shift of 0 nothing but zeros.
    """
    u = noise.astype(np.int64) + 128
    return u >> (8 - shift) if shift <= 8 else (u << (shift - 8)) + (1 << (shift - 9))


def noise_rows(seed: bytes, *, stream: int, rows: range, cols: int) -> NDArray[np.int8]:
    """The noise of some rows of a tensor, which is one stream, row by row.

    Args:
        seed: the step's.
        stream: names the tensor under its seed.
        rows: which ones.
        cols: numbers of a row.

    Returns:
        int8 [len(rows), cols].
    """
    stretch = random_bytes(seed, path=(stream,), count=len(rows) * cols, start=rows.start * cols)
    return np.frombuffer(stretch, np.int8).reshape(len(rows), cols)


def check_shift(shift: int) -> None:
    """Refuse a shift that has no spread.

    Raises:
        ProgramError: CONSTANT.
    """
    if not 0 <= shift <= MAX_STOCHASTIC_SHIFT:
        raise ProgramError(
            ProgramReason.CONSTANT, f"a stochastic shift of {shift}, allowed are 0..{MAX_STOCHASTIC_SHIFT}"
        )
