"""Forgetting old blocks, within a number of blocks or of bytes on disk.

What others need stays: the blocks since the older state that is offered to those who begin, and what proves
every later committee. The state itself has no history: a tree that nobody holds any more is gone.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol, Self

import trio

from chain.store import BlockStore
from chain.types.params import ChainParams
from consensus.signing.disk import Durably, at_once
from tools.node.disk import size_of
from tools.node.snapshots import KEPT

STEP: Final = 2
"""Blocks that one write forgets: a full one takes a tenth of a second, in which nothing is signed."""

ROUND: Final = 256
"""Blocks forgotten between two looks at the size on disk."""

PAUSE_SECONDS: Final = 0.1
"""Between two steps: catching up with a large backlog must not slow the chain down."""

LOOK_SECONDS: Final = 30.0
"""Between two looks at the size on disk, which follows a deletion late."""


@dataclass(frozen=True, slots=True)
class PruneRule:
    """How much an operator wants to keep."""

    blocks: int | None = None
    size: int | None = None
    """Bytes on disk."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `5000` or `2GB`.

        Raises:
            ValueError: It is neither.
        """
        size = size_of(text)
        if size is not None:
            return cls(size=size)
        if text.isascii() and text.isdigit():
            return cls(blocks=int(text))
        raise ValueError(f"{text!r} is no number of blocks like 5000, and no size like 2GB")


def least_kept(params: ChainParams) -> int:
    """Blocks that no rule forgets: those after the older of the states that are offered."""
    return (KEPT + 1) * params.epoch_length


class Heads(Protocol):
    """Who knows when the chain grows."""

    async def wait_beyond(self, height: int) -> None:
        """Return once a block above ``height`` is final."""
        ...


class Pruner:
    """Keeps a store within its rule, a few blocks at a time."""

    def __init__(
        self,
        store: BlockStore,
        rule: PruneRule,
        params: ChainParams,
        *,
        measure: Callable[[], int],
        compact: Callable[[int, int], None],
        durably: Durably = at_once,
        beside: Durably = at_once,
    ) -> None:
        """Take the store, and its size on disk in bytes; ``compact`` gives back the room of some heights.

        That may take many seconds, so it is done ``beside`` what waits for the disk, and not in its turn.
        """
        self._store = store
        self._rule = rule
        self._least = least_kept(params)
        self._measure = measure
        self._compact = compact
        self._durably = durably
        self._beside = beside

    async def run(self, heads: Heads) -> None:
        """Prune for ever."""
        while True:
            if await self.round():
                await trio.sleep(PAUSE_SECONDS if self._rule.size is None else LOOK_SECONDS / 10)
            elif self._rule.size is None:
                await heads.wait_beyond(self._store.head.height)
            else:
                await trio.sleep(LOOK_SECONDS)

    async def round(self) -> int:
        """Forget some blocks if the rule asks for it, a few at a time; how many."""
        store, rule = self._store, self._rule
        keep = max(rule.blocks or 0, self._least)
        if rule.size is not None and await self._beside(self._measure) <= rule.size:
            return 0
        first = store.first
        while store.first < first + ROUND:
            if not await self._durably(partial(store.prune, store.head.height - keep + 1, most=STEP)):
                break
            await trio.sleep(PAUSE_SECONDS)
        if rule.size is not None and store.first > first:
            await self._beside(partial(self._compact, first, store.first))
        return store.first - first
