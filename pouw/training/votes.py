"""Votes: which way a miner's shards say that a model's numbers should move, as a tensor and as bytes.

A vote is a tensor int8 [units, width] of -1, 0 and 1, see `pouw.ops.ballot`: a row a unit of the network,
first layer first, in it a value a weight, one for the bias, and zeros up to the width of the widest layer.
As bytes it holds what is no padding, row by row, five values a byte: value number i of a byte is its digit
3^i, with 2 for -1. There is one way to write each vote.
"""

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pouw.tensors import Array

_DIGITS: Final = 5
_BYTES: Final = 3**_DIGITS


@dataclass(frozen=True)
class VoteShape:
    """The layout of the votes on a network.

    Args:
        widths: values per row on the way: inputs, hidden layers, outputs.
    """

    widths: tuple[int, ...]

    @property
    def units(self) -> tuple[int, ...]:
        """Units of each layer, which are rows of a vote."""
        return self.widths[1:]

    @property
    def rows(self) -> int:
        """Rows of a vote."""
        return sum(self.units)

    @property
    def cols(self) -> int:
        """Columns of a vote: those of the widest layer and one for the bias."""
        return max(self.widths[:-1]) + 1

    @cached_property
    def used(self) -> NDArray[np.bool_]:
        """Which values are no padding, [rows, cols]."""
        lengths = [inputs + 1 for inputs, units in pairwise(self.widths) for _ in range(units)]
        columns: NDArray[np.bool_] = np.arange(self.cols) < np.array(lengths).reshape(-1, 1)
        return columns

    @property
    def numbers(self) -> int:
        """How many numbers of the network are voted on."""
        return int(self.used.sum())

    @property
    def packed_bytes(self) -> int:
        """Bytes of a packed vote."""
        return -(-self.numbers // _DIGITS)

    def pack(self, vote: Array) -> bytes:
        """A vote as bytes.

        Args:
            vote: int8 [rows, cols].
        """
        digits = np.zeros(self.packed_bytes * _DIGITS, np.uint8)
        digits[: self.numbers] = vote[self.used] % 3
        powers = 3 ** np.arange(_DIGITS, dtype=np.uint8)
        packed: NDArray[np.uint8] = (digits.reshape(-1, _DIGITS) * powers).sum(axis=1).astype(np.uint8)
        return packed.tobytes()

    def unpack(self, packed: bytes) -> Array | str:
        """A vote from bytes, or a sentence on what is wrong with them.

        Args:
            packed: anything.

        Returns:
            int8 [rows, cols].
        """
        if len(packed) != self.packed_bytes:
            return f"{len(packed)} bytes, a vote on {self.numbers} numbers takes {self.packed_bytes}"
        values = np.frombuffer(packed, np.uint8)
        if int(values.max()) >= _BYTES:
            return f"a byte of {int(values.max())}, five digits make at most {_BYTES - 1}"
        powers = 3 ** np.arange(_DIGITS, dtype=np.uint8)
        digits = (values.reshape(-1, 1) // powers % 3).reshape(-1)
        if digits[self.numbers :].any():
            return "something is written behind the last number"
        vote = np.zeros((self.rows, self.cols), np.int8)
        vote[self.used] = np.where(digits[: self.numbers] == 2, -1, digits[: self.numbers])
        return vote
