"""A record of any type that `chain.codec` knows, drawn from its annotations: seeds for the fuzzer.

Types that are added later get their seeds by themselves.
"""

import dataclasses
import enum
import random
import types
import typing
from typing import Annotated, Any, get_args, get_origin

from chain.codec import Exactly

ATTEMPTS = 2000
"""Draws after which a record's own invariants count as out of reach."""


def some_record(kind: Any, chance: random.Random) -> Any:
    """A value that may stand in a field annotated ``kind``.

    Raises:
        ValueError: A record's invariants refuse whatever is drawn.
    """
    if get_origin(kind) is Annotated:
        return _bounded(*get_args(kind)[:2], chance)
    if get_origin(kind) in (typing.Union, types.UnionType):
        return some_record(chance.choice(get_args(kind)), chance)
    if isinstance(kind, type) and issubclass(kind, enum.IntEnum):
        return chance.choice(list(kind))
    hints = typing.get_type_hints(kind, include_extras=True)
    for attempt in range(ATTEMPTS):
        try:
            return kind(*[some_record(hints[field.name], chance) for field in dataclasses.fields(kind)])
        except ValueError:
            if attempt == ATTEMPTS - 1:
                raise
    raise AssertionError("unreachable")


def _bounded(base: Any, bound: Any, chance: random.Random) -> Any:
    if base is int:
        return chance.getrandbits(chance.choice([1, 7, bound.count]) % (bound.count + 1))
    low, high = (bound.length, bound.length) if isinstance(bound, Exactly) else (0, min(bound.length, 24))
    if base is bytes:
        return bytes(high) if chance.random() < 0.2 else chance.randbytes(chance.randint(low, high))
    if base is str:
        return "".join(chance.choices("headrace-0µ", k=chance.randint(low, high // 2)))
    item = get_args(base)[0]
    return tuple(some_record(item, chance) for _ in range(chance.randint(0, min(bound.length, 3))))
