"""How a model's tokens are chosen at random: what a request says of it."""

from dataclasses import dataclass, replace
from typing import Final

from pouw.arithmetic.transformer_rows import TOP_P_ALL
from pouw.ops.require import MAX_CONSTANT_MULTIPLIER
from pouw.program_error import ProgramError, ProgramReason

MAX_TEMPERATURE: Final = 65535
"""256 times the model's own: as good as a fair die."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How tokens are chosen at random.

    Args:
        seeds: one per sequence; fixed by the task, so that the miner cannot choose.
        temperature: in 256ths, 1..65535: 256 draws from the model's own distribution.
        top_k: how many of the likeliest tokens may be drawn; 0 for all.
        top_p: of those, the fewest that together have this share of them, in 1024ths; 1024 for all.
    """

    seeds: tuple[bytes, ...]
    temperature: int = 256
    top_k: int = 0
    top_p: int = TOP_P_ALL

    def __post_init__(self) -> None:
        if not 1 <= self.temperature <= MAX_TEMPERATURE:
            raise ProgramError(
                ProgramReason.CONSTANT, f"temperature {self.temperature}, allowed are 1..{MAX_TEMPERATURE}"
            )

    def multiplier(self, plain: int) -> int:
        """What a difference of logits is multiplied with; `plain` is that at temperature 1."""
        return min(max(1, (plain << 8) // self.temperature), MAX_CONSTANT_MULTIPLIER)

    def of(self, sequence: int) -> "Sampling":
        """How one sequence of several is sampled."""
        return replace(self, seeds=(self.seeds[sequence],))
