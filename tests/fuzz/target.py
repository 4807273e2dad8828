"""What a target is: a decoder that meets bytes from outside, as a function of bytes for a fuzzer to call."""

import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from chain.codec import decode, decode_fields, encode
from chain.msgpack_reader import DecodeError
from tests.fuzz.records import some_record

LIMIT: Final = 1 << 22
SEEDS: Final = 24
"""Seeds of a record type."""


class Refused(Exception):  # noqa: N818 - reads as a sentence where it is raised
    """A target's own way to refuse, where its decoder tells by what it returns."""


@dataclass(frozen=True, slots=True)
class Target:
    """A decoder under test.

    It reads its input, or raises what its own docstring names: those are its refusals, and anything else is a
    finding. Where bytes have one canonical form, what was read must be written as the same.

    Args:
        read: the decoder.
        refusals: what it raises by contract.
        seeds: inputs that it accepts, drawn from a generator.
        write: its inverse, where bytes have one canonical form; else whatever uses what was read.
        canonical: whether `write` must give the very bytes that were read.
        longest: bytes of an input worth trying.
    """

    read: Callable[[bytes], Any]
    refusals: tuple[type[Exception], ...]
    seeds: Callable[[random.Random], list[bytes]]
    write: Callable[[Any], object] = repr
    canonical: bool = False
    longest: int = 4096

    def accepts(self, data: bytes) -> bool:
        """Whether the input is accepted; raises only what is a finding."""
        return self.refusal(data) is None

    def refusal(self, data: bytes) -> Exception | None:
        """Why the input is refused, or None; raises only what is a finding."""
        try:
            value = self.read(data)
        except self.refusals as refused:
            return refused
        written = self.write(value)
        assert not self.canonical or written == data, f"{data.hex()} is read as {value}, of other bytes"
        return None

    def attempt(self, data: bytes) -> None:
        """Read the input and drop it: what a decoder costs, and nothing else."""
        with suppress(*self.refusals):
            self.read(data)


def codec_target(kind: Any) -> Target:
    """A record type of the canonical codec."""
    return Target(
        read=lambda data: decode(kind, data, limit=LIMIT),
        refusals=(DecodeError,),
        seeds=lambda chance: [encode(some_record(kind, chance)) for _ in range(SEEDS)],
        write=encode,
        canonical=True,
    )


def fields_of(data: bytes) -> Any:
    """Nested fields of the canonical codec; raises DecodeError."""
    return decode_fields(data, limit=LIMIT)
