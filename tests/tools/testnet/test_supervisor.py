"""Real processes, started, watched and ended: the part of a testnet that no in-memory twin can stand for."""

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from tests.house import ROOT
from tools.testnet.supervisor import LEASH, Child, Exit, NotRunning, Supervisor, tail

OBEDIENT = "import signal, sys; print('up', flush=True); signal.pause()"
STUBBORN = (
    "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); signal.pause()"
)
FAILING = "print('the disk is on fire'); raise SystemExit(7)"

PATIENCE_S = 20.0
"""For a process to start or end; only a hang takes that long."""


def child(folder: Path, name: str, program: str) -> Child:
    return Child(name, (sys.executable, "-I", "-c", program), folder / f"{name}.log")


@asynccontextmanager
async def supervised(*children: Child) -> AsyncIterator[Supervisor]:
    with trio.fail_after(PATIENCE_S):
        async with trio.open_nursery() as nursery:
            supervisor = Supervisor({each.name: each for each in children}, nursery)
            try:
                yield supervisor
            finally:
                supervisor.kill_all()


async def says_up(one: Child) -> None:
    """Wait until a child has printed its line: only then are its signal handlers what they should be."""
    while True:
        if tail(one.log)[-1:] == ["up"]:
            return
        await trio.sleep(0.01)


async def test_a_child_ends_when_asked_to(tmp_path: Path) -> None:
    one = child(tmp_path, "one", OBEDIENT)
    async with supervised(one) as supervisor:
        supervisor.start("one")
        await says_up(one)
        assert supervisor.pid("one") is not None
        assert await supervisor.end("one", hard=False) is False
        assert supervisor.pid("one") is None
        assert await supervisor.exits.receive() == Exit("one", -signal.SIGTERM, expected=True)


async def test_a_child_that_does_not_end_is_killed(tmp_path: Path) -> None:
    one, two = child(tmp_path, "one", STUBBORN), child(tmp_path, "two", OBEDIENT)
    async with supervised(one, two) as supervisor:
        for each in (one, two):
            supervisor.start(each.name)
            await says_up(each)
        assert await supervisor.end_all(grace=0.2) == ["one"]


async def test_killing_is_not_asking(tmp_path: Path) -> None:
    one = child(tmp_path, "one", OBEDIENT)
    async with supervised(one) as supervisor:
        supervisor.start("one")
        await supervisor.end("one", hard=True)
        assert await supervisor.exits.receive() == Exit("one", -signal.SIGKILL, expected=True)
        supervisor.start("one")
        assert supervisor.pid("one") is not None


async def test_a_child_that_ends_unasked_is_told_apart(tmp_path: Path) -> None:
    one = child(tmp_path, "one", FAILING)
    async with supervised(one) as supervisor:
        supervisor.start("one")
        exit_ = await supervisor.exits.receive()
        assert exit_ == Exit("one", 7, expected=False)
        assert exit_.explain() == "one ended (exit status 7)"
        assert tail(one.log) == ["the disk is on fire"]


async def test_orders_that_make_no_sense_are_refused(tmp_path: Path) -> None:
    one = child(tmp_path, "one", OBEDIENT)
    async with supervised(one) as supervisor:
        with pytest.raises(NotRunning, match="one does not run"):
            await supervisor.end("one", hard=True)
        with pytest.raises(KeyError):
            await supervisor.end("another", hard=True)
        with pytest.raises(KeyError):
            supervisor.start("another")
        supervisor.start("one")
        with pytest.raises(NotRunning, match="one runs already, as process"):
            supervisor.start("one")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child that its parent was killed")
def test_children_die_with_a_supervisor_that_was_killed(tmp_path: Path) -> None:
    program = f"""
import trio, sys
from pathlib import Path
sys.path.insert(0, {str(ROOT)!r})
from tools.testnet.supervisor import Child, Supervisor

async def main():
    async with trio.open_nursery() as nursery:
        child = Child("one", (sys.executable, "-I", "-c", {OBEDIENT!r}), Path({str(tmp_path / "log")!r}))
        supervisor = Supervisor({{"one": child}}, nursery)
        supervisor.start("one")
        print(supervisor.pid("one"), flush=True)
        await trio.sleep_forever()

trio.run(main)
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as supervisor:
        assert supervisor.stdout is not None
        pid = int(supervisor.stdout.readline())
        watched = os.pidfd_open(pid)
        supervisor.kill()
    try:
        os.set_blocking(watched, True)
        trio.run(ends, watched)
    finally:
        os.close(watched)


async def ends(watched: int) -> None:
    """A process's descriptor is readable once it has ended."""
    with trio.fail_after(PATIENCE_S):
        await trio.lowlevel.wait_readable(watched)


def test_a_child_whose_supervisor_is_gone_already_does_not_start() -> None:
    done = subprocess.run(
        [sys.executable, "-I", LEASH, "1", "/bin/echo", "started"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "the supervisor ended before its child started\n"
