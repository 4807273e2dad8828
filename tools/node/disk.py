"""This machine's disk as a running node sees it: the room that is left, how long a sync takes, what failed.

- Everything that waits for the disk while the node takes part runs in a thread (`DiskThread`), one work at a
  time: while a sync hangs the node still answers, to people and to peers.
- Room is looked at every second (`DiskWatch`). Below the *reserve* the node warns; below the *floor* it stops
  in order, while there is still room for what it has begun. A disk that fills up faster fails a write, and a
  write that failed stops the node: it never signs what it could not record.
- A failure under somebody who outlives it, a stranger's request or a call over RPC, stops the node as well.
"""

import logging
import math
import shutil
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import trio

from chain.database.interface import DatabaseError

_log = logging.getLogger(__name__)

LOOK_SECONDS: Final = 1.0
"""Between two looks at the room that is left."""

SLOW_SECONDS: Final = 0.25
"""A sync that takes longer is told of: ten of the slowest that were measured on a busy virtual disk."""

REMEMBERED_SECONDS: Final = 60.0
"""For so long the status tells of a slow sync."""

AGAIN_SECONDS: Final = 60.0
"""Between two warnings of one kind."""

_UNITS: Final = {"KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class RoomRule:
    """How much room an operator wants to keep, in bytes."""

    reserve: int
    """With less the node warns."""
    floor: int
    """With less it stops in order; 0 stops only when a write fails."""


class DiskFullError(Exception):
    """There is less room than the operator's floor: the node stops before a write fails."""


def check_room(folders: Sequence[Path], floor: int) -> int:
    """The least room in bytes that any of some folders has left.

    Raises:
        DiskFullError: It is below ``floor``.
    """
    folder, free = min(((path, shutil.disk_usage(path).free) for path in folders), key=lambda pair: pair[1])
    if free < floor:
        raise DiskFullError(f"disk nearly full at {folder}: {megabytes(free)} left, need {megabytes(floor)} "
                            "(storage.floor)")  # fmt: skip
    return free


def size_of(text: str) -> int | None:
    """Bytes in a text like `2GB`; None if it is no size."""
    number, unit = text[:-2].strip(), _UNITS.get(text[-2:].upper())
    return int(number) * unit if unit is not None and number.isascii() and number.isdigit() else None


def megabytes(size: int) -> str:
    """A size for people."""
    return f"{size / 1e6:.1f} MB"


@dataclass
class DiskThread:
    """Implements `consensus.signing.disk.Durably` with a thread, and measures how long each work takes."""

    now: Callable[[], float] = trio.current_time
    _lock: trio.Lock = field(default_factory=trio.Lock)
    _slow: "deque[tuple[float, float]]" = field(default_factory=lambda: deque(maxlen=256))
    """When each slow sync ended, and what it took, in seconds."""
    _began: float | None = None
    _told: float = -math.inf
    _own_thread: trio.CapacityLimiter = field(default_factory=lambda: trio.CapacityLimiter(1))
    """No threads that others keep busy stop what consensus waits for."""

    async def __call__(self, work: Callable[[], _T], /) -> _T:
        """Do the work in a thread, after all that came before; a cancelled caller waits for its end."""
        async with self._lock:
            self._began = self.now()
            try:
                return await trio.to_thread.run_sync(work, limiter=self._own_thread)
            finally:
                self._note(self.now() - self._began)
                self._began = None

    def describe(self) -> str:
        """That the disk is slow, with what was measured, as a sentence; empty if it is not."""
        now = self.now()
        while self._slow and self._slow[0][0] < now - REMEMBERED_SECONDS:
            self._slow.popleft()
        hanging = 0.0 if self._began is None else now - self._began
        if not self._slow and hanging < SLOW_SECONDS:
            return ""
        longest = max([hanging, *(took for _, took in self._slow)])
        waits = f", waits for one since {1000 * hanging:.0f} ms" if hanging >= SLOW_SECONDS else ""
        return (
            f"slow disk: {len(self._slow)} syncs of more than {1000 * SLOW_SECONDS:.0f} ms in the last "
            f"{REMEMBERED_SECONDS:.0f} s, the longest {1000 * longest:.0f} ms{waits}"
        )

    def _note(self, took: float) -> None:
        if took < SLOW_SECONDS:
            return
        now = self.now()
        self._slow.append((now, took))
        if now >= self._told + AGAIN_SECONDS:
            self._told = now
            _log.warning("disk slow sync_ms=%.0f healthy_ms=%.0f", 1000 * took, 1000 * SLOW_SECONDS)


@dataclass
class DiskWatch:
    """Looks at a node's folders, and at its database, while it runs.

    Args:
        folders: What the node writes to.
        rule: How much room there is to be.
        thread: Where the node's disk work is done.
        failure: What first failed in the database, if anything did.
        free: Bytes that were left at the last look.
    """

    folders: tuple[Path, ...]
    rule: RoomRule
    thread: DiskThread
    failure: Callable[[], DatabaseError | None]
    free: int
    _told: float = field(default=-math.inf, init=False)
    _own_thread: trio.CapacityLimiter = field(default_factory=lambda: trio.CapacityLimiter(1), init=False)

    async def run(self) -> None:
        """Look for ever.

        Raises:
            DiskFullError: There is less room than the floor.
            DatabaseError: The database failed.
        """
        while True:
            # Where a disk hangs, so may a look at it.
            look = partial(check_room, self.folders, self.rule.floor)
            self.note(await trio.to_thread.run_sync(look, limiter=self._own_thread))
            await trio.sleep(LOOK_SECONDS)

    def note(self, free: int) -> None:
        """Take in how many bytes are left, and what has become of the database.

        Raises:
            DatabaseError: The database failed.
        """
        self.free, now = free, self.thread.now()
        failure = self.failure()
        if failure is not None:
            raise failure
        if self.is_low and now >= self._told + AGAIN_SECONDS:
            self._told = now
            _log.warning("disk low free=%d reserve=%d floor=%d", free, self.rule.reserve, self.rule.floor)

    @property
    def is_low(self) -> bool:
        """Whether the reserve is touched."""
        return self.free < self.rule.reserve

    def describe(self) -> str:
        """What is wrong with the disk, as a sentence; empty if nothing is."""
        low = (
            f"low disk: {megabytes(self.free)} left, below the reserve of {megabytes(self.rule.reserve)}; "
            f"the node stops below {megabytes(self.rule.floor)}"
        )
        return "; ".join(part for part in (low * self.is_low, self.thread.describe()) if part)
