"""Named alarms: each name waits for one thing at a time."""

from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

import trio

Item = TypeVar("Item")


class Alarms(Generic[Item]):
    """Hands over an item after a while, unless a new one of the same name comes first."""

    def __init__(self, nursery: trio.Nursery, ring: Callable[[Item], Awaitable[None]]) -> None:
        """``ring`` takes the items; it may wait, and is cut short when its alarm is set anew."""
        self._nursery = nursery
        self._ring = ring
        self._scopes: dict[object, trio.CancelScope] = {}

    def set(self, name: object, delay_ms: int, item: Item) -> None:
        """Ring with ``item`` in ``delay_ms``, in place of what waited under ``name``."""
        if name in self._scopes:
            self._scopes[name].cancel()
        scope = self._scopes[name] = trio.CancelScope()
        self._nursery.start_soon(self._wait, scope, delay_ms, item)

    async def _wait(self, scope: trio.CancelScope, delay_ms: int, item: Item) -> None:
        with scope:
            await trio.sleep(delay_ms / 1000)
            await self._ring(item)
