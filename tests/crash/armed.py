"""A node that dies at a given step: `python -m tests.crash.armed ORDER node run --home DIR`.

ORDER is a line of JSON, see `Order`. A *step* is a call after which something is durable that was not before:
a write or a sync of the signing log, its replacement, a batch of the database, told apart by who calls. The
calls are wrapped here, from outside; the node's own code knows nothing of it.
"""

import fcntl
import json
import os
import random
import signal
import struct
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, NoReturn

EXT4_IOC_SHUTDOWN: Final = 0x8004_587D
NO_LOG_FLUSH: Final = 2
"""Of include/uapi/linux/fs.h: the file system stops at once, and what was not synced is gone."""


@dataclass(frozen=True, slots=True)
class Order:
    """When and how to die.

    Args:
        step: the step's name; empty: never die.
        when: `before` it, `at` it (a part of it done), or `after` it.
        count: at which of its occurrences, from 1.
        power: a mounted file system whose power is cut at that moment; empty: the process alone dies.
        record: a file to which each step's name is added when it is reached; empty: none.
        slow: least and most seconds that every sync takes on top, drawn anew for each.
    """

    step: str = ""
    when: str = "after"
    count: int = 1
    power: str = ""
    record: str = ""
    slow: tuple[float, float] = (0.0, 0.0)

    def text(self) -> str:
        """The order as an argument."""
        return json.dumps(asdict(self))


class Armed:
    """Counts steps, and dies at the one that was ordered."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._seen: dict[str, int] = {}
        self._draw = random.Random()

    def wrap(
        self, owner: Any, name: str, *, half: Callable[..., None] | None = None, syncs: bool = False
    ) -> None:
        """Make every call of a function a step.

        Args:
            owner: module or class that holds the function.
            name: the function's name there.
            half: does a part of the call; without it, `at` means some microseconds after it began.
            syncs: it waits until something is durable.
        """
        original = getattr(owner, name)
        armed = self

        def step(*arguments: Any, **options: Any) -> Any:
            label = f"{_caller()} {name}"
            doomed = armed._is_the_one(label)
            if doomed and armed._order.when == "before":
                armed._die()
            if doomed and armed._order.when == "at":
                if half is not None:
                    half(original, *arguments)
                    armed._die()
                threading.Thread(target=armed._die_soon, daemon=True).start()
            if syncs:
                time.sleep(armed._draw.uniform(*armed._order.slow))
            result = original(*arguments, **options)
            if doomed:
                armed._die()
            return result

        setattr(owner, name, step)

    def _is_the_one(self, label: str) -> bool:
        count = self._seen[label] = self._seen.get(label, 0) + 1
        if self._order.record:
            with Path(self._order.record).open("a", encoding="utf-8") as file:
                file.write(label + "\n")
        return label == self._order.step and count == self._order.count

    def _die_soon(self) -> NoReturn:
        time.sleep((time.perf_counter_ns() % 1000) * 1e-6)
        self._die()

    def _die(self) -> NoReturn:
        if self._order.power:
            mounted = os.open(self._order.power, os.O_RDONLY)
            fcntl.ioctl(mounted, EXT4_IOC_SHUTDOWN, struct.pack("I", NO_LOG_FLUSH))
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("alive after SIGKILL")


def _caller() -> str:
    """The function that asked for the step, and the one that asked it."""
    frame = sys._getframe(2)
    inner = frame.f_code.co_qualname
    assert frame.f_back is not None
    return f"{frame.f_back.f_code.co_qualname} > {inner}"


def _write_half(write: Callable[[int, bytes], int], handle: int, data: bytes) -> None:
    write(handle, bytes(data)[: len(data) // 2])


def main() -> None:
    """Wrap the steps, and become the command."""
    armed = Armed(Order(**json.loads(sys.argv.pop(1))))
    from chain.database.leveldb import LevelDatabase
    from tools.cli.main import main as headrace

    armed.wrap(os, "write", half=_write_half)
    armed.wrap(os, "fdatasync", syncs=True)
    armed.wrap(os, "fsync", syncs=True)
    armed.wrap(Path, "replace")
    armed.wrap(LevelDatabase, "write", syncs=True)
    sys.argv[0] = "headrace"
    headrace()


if __name__ == "__main__":
    main()
