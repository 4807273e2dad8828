"""Who votes in an epoch, and how much agreement is enough."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Final

from chain.codec import U16, AtMost, PublicKey, encode
from chain.hashing import digest

MAX_SEATS: Final = 1024


@dataclass(frozen=True, slots=True)
class Validator:
    """One consensus key and the seats it holds for an epoch."""

    consensus_key: PublicKey
    payout: PublicKey
    """Account that receives the tips of the blocks it proposes."""
    seats: U16


@dataclass(frozen=True, slots=True)
class Committee:
    """The validators of one epoch, in strictly ascending order of their consensus keys."""

    validators: Annotated[tuple[Validator, ...], AtMost(MAX_SEATS)]

    def __post_init__(self) -> None:
        keys = [validator.consensus_key for validator in self.validators]
        if not keys:
            raise ValueError("a committee needs a validator")
        if any(low >= high for low, high in pairwise(keys)):
            raise ValueError("consensus keys are not strictly ascending")
        if any(validator.seats == 0 for validator in self.validators):
            raise ValueError("a validator without a seat")

    @property
    def seats(self) -> int:
        """Seats in all."""
        return sum(validator.seats for validator in self.validators)

    @property
    def root(self) -> bytes:
        """What the header of the epoch before commits to."""
        return digest("headrace/committee", encode(self))

    def seats_of(self, consensus_key: bytes) -> int:
        """Seats that a key holds, 0 for a stranger."""
        return next((v.seats for v in self.validators if v.consensus_key == consensus_key), 0)

    def index_of(self, consensus_key: bytes) -> int | None:
        """Position of a key among the validators."""
        return next((i for i, v in enumerate(self.validators) if v.consensus_key == consensus_key), None)

    def seat_holder(self, seat: int) -> Validator:
        """Holder of seat number ``seat`` in [0, seats)."""
        assert 0 <= seat < self.seats, f"seat {seat} of {self.seats}"
        for validator in self.validators:
            if seat < validator.seats:
                return validator
            seat -= validator.seats
        raise AssertionError("seats do not add up")


def is_quorum(seats: int, total: int) -> bool:
    """Strictly more than two thirds: two quorums share more than a third, so an honest seat."""
    return 3 * seats > 2 * total
