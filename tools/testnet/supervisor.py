"""The processes of a testnet: started from one place, watched, and ended together.

Every child is in a session of its own, so that a Ctrl-C at the terminal reaches the supervisor alone, which
then ends the children; `leash.py` ends them if the supervisor itself is killed.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import trio

LEASH: Final = str(Path(__file__).with_name("leash.py"))
GRACE_S: Final = 10.0
"""Seconds that a child has to end by itself before it is killed."""
TAIL_BYTES: Final = 4096


class NotRunning(Exception):  # noqa: N818  -- a state, not a mistake
    """The child does not run; or it does, and was to be started."""


@dataclass(frozen=True, slots=True)
class Child:
    """One program of the testnet."""

    name: str
    command: tuple[str, ...]
    """Absolute path of the program, then its arguments."""
    log: Path
    """Takes its output, appended."""


@dataclass(frozen=True, slots=True)
class Exit:
    """A child has ended."""

    name: str
    status: int
    """Exit status; negative: the signal that ended it."""
    expected: bool
    """Whether somebody asked for it."""

    def explain(self) -> str:
        """How it ended, in words."""
        how = f"exit status {self.status}"
        if self.status < 0:
            how = signal.Signals(-self.status).name
        return f"{self.name} ended ({how})"


class Supervisor:
    """Starts, watches and ends children. One per testnet; used from one trio task tree.

    `exits` yields every end of a child, in order. Its bound is far above what a reader can leave unread.
    """

    def __init__(self, children: Mapping[str, Child], nursery: trio.Nursery) -> None:
        self._children = children
        self._nursery = nursery
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._gone: dict[str, trio.Event] = {}
        self._expected: set[str] = set()
        self._send, self.exits = trio.open_memory_channel[Exit](len(children) * 16)
        # One thread waits for each child; trio's common limit would let the others starve.
        self._limiter = trio.CapacityLimiter(max(1, len(children)))

    def pid(self, name: str) -> int | None:
        """Process id of a child while it runs."""
        process = self._running.get(name)
        return None if process is None else process.pid

    def start(self, name: str) -> None:
        """Start a child. Not a coroutine: it must fork from the main thread, see `leash.py`.

        Raises:
            KeyError: The testnet has no child of that name.
            NotRunning: It runs already.
        """
        child = self._children[name]
        if name in self._running:
            raise NotRunning(f"{name} runs already, as process {self._running[name].pid}")
        leashed = [sys.executable, "-I", LEASH, str(os.getpid()), *child.command]
        with child.log.open("ab") as log:
            process = subprocess.Popen(
                leashed, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        self._running[name] = process
        self._gone[name] = trio.Event()
        self._nursery.start_soon(self._watch, name, process)

    async def end(self, name: str, *, hard: bool, grace: float = GRACE_S) -> bool:
        """End a child and wait until it is gone: asked to (SIGTERM), or at once (SIGKILL).

        Returns:
            Whether it had to be killed.

        Raises:
            KeyError: The testnet has no child of that name.
            NotRunning: It does not run.
        """
        process = self._running.get(name)
        if process is None:
            self._children[name]  # a wrong name is a KeyError
            raise NotRunning(f"{name} does not run")
        self._expected.add(name)
        gone = self._gone[name]
        if not hard:
            process.terminate()
            with trio.move_on_after(grace):
                await gone.wait()
        if not gone.is_set():
            process.kill()
            await gone.wait()
            return True
        return False

    async def end_all(self, grace: float = GRACE_S) -> list[str]:
        """End every child together; the names of those that had to be killed."""
        killed: list[str] = []

        async def end_one(name: str) -> None:
            if await self.end(name, hard=False, grace=grace):
                killed.append(name)

        with trio.CancelScope(shield=True):  # what started must end, even while we are being cancelled
            async with trio.open_nursery() as nursery:
                for name in list(self._running):
                    nursery.start_soon(end_one, name)
        return sorted(killed)

    def kill_all(self) -> None:
        """End every child at once, without waiting."""
        self._expected.update(self._running)
        for process in self._running.values():
            process.kill()

    async def _watch(self, name: str, process: subprocess.Popen[bytes]) -> None:
        with trio.CancelScope(shield=True):  # ends when the child does, and `end_all` sees to that
            status = await trio.to_thread.run_sync(process.wait, limiter=self._limiter)
        del self._running[name]
        self._gone[name].set()
        expected = name in self._expected
        self._expected.discard(name)
        self._send.send_nowait(Exit(name, status, expected))


def tail(log: Path, lines: int = 12) -> list[str]:
    """Last lines of a child's log; none if there is no log."""
    try:
        with log.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - TAIL_BYTES))
            return file.read().decode("utf-8", "replace").splitlines()[-lines:]
    except OSError:
        return []
