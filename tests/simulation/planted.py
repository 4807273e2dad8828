"""Bugs planted on purpose: a simulator that does not find them proves nothing about the real code.

Each is a small patch of the real code, in force for all nodes of a world while it plays. Where the signing
guard would hide a bug of the protocol, the guard is told to look away.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

Patch = Callable[[], AbstractContextManager[None]]


@dataclass(frozen=True, slots=True)
class Bug:
    """One planted bug."""

    name: str
    what: str
    planted: Patch
    profile: str = "consensus"
    habits: tuple[str, ...] | None = None
    """Of the traitors, where only one way can show it; None draws them like any campaign."""
    sizes: tuple[int, ...] = (4, 7)


@contextmanager
def swapped(*changes: tuple[object, str, Any]) -> Iterator[None]:
    """Attributes with other values, and back again."""
    with ExitStack() as stack:
        for owner, name, value in changes:
            before = owner.__dict__[name]
            setattr(owner, name, value)
            stack.callback(setattr, owner, name, before)
        yield


def patch(*changes: tuple[object, str, Any]) -> Patch:
    """What `swapped` does, as often as it is asked for."""
    return lambda: swapped(*changes)
