"""From a wide accumulator back to int8: multiply, rounding shift, clamp, table."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pouw.hashing import framed, i64, u32
from pouw.program_error import ProgramError, ProgramReason

MAX_MULTIPLIER: Final = (1 << 30) - 1
"""A 32-bit sum of accumulator and bias, times this, stays below 2^62."""

MAX_SHIFT: Final = 62
"""Keeps the rounding term at or below 2^61, so the sum of both stays inside int64."""


@dataclass(frozen=True, slots=True)
class Requant:
    """`table[clamp((x * multiplier + 2^(shift-1)) >> shift, low, high) + 128]`, rounding half up.

    A rectifier is low = 0. Without a table the clamped value is the result.

    Args:
        multiplier: 1..MAX_MULTIPLIER.
        shift: 0..MAX_SHIFT; 0 adds no rounding term.
        low: -128..high.
        high: low..127.
        table: None, or 256 int8 values as bytes, for the inputs -128..127.

    Raises:
        ProgramError: CONSTANT.
    """

    multiplier: int
    shift: int
    low: int = -127
    high: int = 127
    table: bytes | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.multiplier <= MAX_MULTIPLIER:
            raise ProgramError(
                ProgramReason.CONSTANT, f"multiplier {self.multiplier}, allowed are 1..{MAX_MULTIPLIER}"
            )
        if not 0 <= self.shift <= MAX_SHIFT:
            raise ProgramError(ProgramReason.CONSTANT, f"shift {self.shift}, allowed are 0..{MAX_SHIFT}")
        if not -128 <= self.low <= self.high <= 127:
            raise ProgramError(
                ProgramReason.CONSTANT, f"clamp to {self.low}..{self.high}, allowed are -128..127"
            )
        if self.table is not None and len(self.table) != 256:
            raise ProgramError(ProgramReason.CONSTANT, f"a table of {len(self.table)} entries, not 256")

    @property
    def rounding(self) -> int:
        """What is added before the shift: half of what it removes."""
        return (1 << self.shift) >> 1

    def encode(self) -> bytes:
        """The constants, unambiguous."""
        return framed(
            u32(self.multiplier) + u32(self.shift) + i64(self.low) + i64(self.high), self.table or b""
        )

    def value(self, x: int) -> int:
        """The definition, for one number."""
        y = min(max((x * self.multiplier + self.rounding) >> self.shift, self.low), self.high)
        return y if self.table is None else int(np.frombuffer(self.table, np.int8)[y + 128])

    def apply(self, x: NDArray[np.int64]) -> NDArray[np.int8]:
        """The definition, for an array of values below 2^32 in size."""
        y = (x * self.multiplier + self.rounding) >> self.shift
        result: NDArray[np.int8] = np.minimum(np.maximum(y, self.low), self.high).astype(np.int8)
        if self.table is not None:
            result = np.frombuffer(self.table, np.int8)[result.astype(np.int64) + 128]
        return result

    def range(self, low: int, high: int) -> tuple[int, int]:
        """The interval of results for inputs from low to high."""
        least, most = (
            min(max((x * self.multiplier + self.rounding) >> self.shift, self.low), self.high)
            for x in (low, high)
        )
        if self.table is None:
            return least, most
        reached = np.frombuffer(self.table, np.int8)[least + 128 : most + 129]
        return int(reached.min()), int(reached.max())
