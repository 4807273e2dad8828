"""Blind changes to bytes: the fuzzer of the ordinary tests, which has no coverage to steer by."""

import random
from collections.abc import Sequence

_EDGES = (0x00, 0x01, 0x7F, 0x80, 0x90, 0xC0, 0xC4, 0xC6, 0xCF, 0xDD, 0xFF)
"""Ends of ranges, and bytes that begin long values in msgpack."""


def mutated(seeds: Sequence[bytes], chance: random.Random) -> bytes:
    """A seed with one to four changes."""
    data = bytearray(chance.choice(seeds))
    for _ in range(chance.randint(1, 4)):
        _change(data, seeds, chance)
    return bytes(data)


def _change(data: bytearray, seeds: Sequence[bytes], chance: random.Random) -> None:
    at = chance.randrange(len(data) + 1)
    match chance.randrange(6):
        case 0 if at < len(data):
            data[at] ^= 1 << chance.randrange(8)
        case 1 if at < len(data):
            data[at] = chance.choice(_EDGES)
        case 2:
            del data[at : at + chance.randint(1, 8)]
        case 3:
            data[at:at] = chance.randbytes(chance.randint(1, 8))
        case 4:
            data[at:at] = data[at : at + chance.randint(1, 64)]
        case _:
            other = chance.choice(seeds)
            data[at:] = other[chance.randrange(len(other) + 1) :]
