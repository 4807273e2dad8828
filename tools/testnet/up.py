"""`testnet up`: start the processes of a testnet in order, watch them, and end them all.

```
 nodes ─► RPC answers ─► peers connected ─► first final block ─► miners ─► watching ─► end
   └──── a process that ends unasked, or 90 s without result, ends the start ────┘
```
"""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import trio

from tools.testnet import control
from tools.testnet.control import ControlError, Order, Verb
from tools.testnet.plan import TestnetPlan, miner_command, node_command
from tools.testnet.record import TestnetRecord, record_of, targets_of, write_record
from tools.testnet.report import Reporter
from tools.testnet.supervisor import Child, Exit, NotRunning, Supervisor, tail
from tools.testnet.watch import Look, Watcher

START_TIMEOUT_S: Final = 90.0
"""Seconds for the whole start; a machine that needs longer has something wrong that waiting does not mend."""
LOOK_PERIOD_S: Final = 1.0
IMPATIENT_PERIOD_S: Final = 0.2
"""Between looks during the start, where every tenth of a second is shown."""


class StartFailed(Exception):  # noqa: N818  -- what happened
    """The testnet did not come up; the message says what is known about it."""


@dataclass(frozen=True, slots=True)
class Until:
    """When a testnet ends by itself; None: never."""

    seconds: float | None = None
    """After it was ready."""
    height: int | None = None
    """Final at any node."""


class Testnet:
    """One run of a testnet that lies in a folder."""

    __test__ = False

    def __init__(self, folder: Path, plan: TestnetPlan, report: Reporter, nursery: trio.Nursery) -> None:
        self._folder = folder
        self._plan = plan
        self._report = report
        self._record = record_of(folder, plan)
        self._children = children_of(folder, plan)
        self._supervisor = Supervisor(self._children, nursery)
        self._watcher = Watcher(targets_of(self._record))
        self._starting = True
        self._stop = trio.CancelScope()
        self._failure: StartFailed | None = None

    async def run(self, listener: trio.SocketListener, until: Until) -> None:
        """Start everything, watch it until something ends it, and end everything.

        Raises:
            StartFailed: It did not come up; what had started has been ended.
        """
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._report_exits)
                nursery.start_soon(control.serve, listener, self._carry_out)
                nursery.start_soon(self._obey_signals)
                with self._stop:
                    await self._start()
                    await self._watch(until)
                await self._end()
                nursery.cancel_scope.cancel()
        finally:
            await self._supervisor.end_all()  # whatever went wrong, no process is left behind
        if self._failure is not None:
            raise self._failure

    async def _start(self) -> None:
        began = time.monotonic()
        try:
            with trio.fail_after(START_TIMEOUT_S):
                await self._start_in_order()
        except trio.TooSlowError:
            look = await self._watcher.look()
            self._fail(
                f"not up after {START_TIMEOUT_S:.0f} s: {len(look.statuses)} of {len(look.nodes)} nodes "
                f"answer, {look.connections} connections, height {look.height}"
            )
            return
        self._starting = False
        self._report.ready(self._now(), time.monotonic() - began, self._folder)

    async def _start_in_order(self) -> None:
        nodes, miners = self._plan.nodes, self._plan.miners
        with self._stage("nodes started", f"{len(nodes)} processes"):
            for node in nodes:
                self._supervisor.start(node.name)
        with self._stage("RPC answers"):
            await self._wait_for(lambda look: len(look.statuses) == len(nodes))
        links = len(nodes) * (len(nodes) - 1) // 2
        with self._stage("peers connected", f"{links} connections"):
            await self._wait_for(lambda look: look.connections >= links)
        first = 1 + (await self._watcher.look()).height
        with self._stage("first final block"):
            await self._wait_for(lambda look: look.height >= first)
        with self._stage("miners started", f"{len(miners)} processes"):
            for miner in miners:
                self._supervisor.start(miner.name)
        self._save()

    async def _wait_for(self, reached: Callable[[Look], bool]) -> None:
        while True:
            if reached(await self._watcher.look()):
                return
            await trio.sleep(IMPATIENT_PERIOD_S)

    @contextmanager
    def _stage(self, name: str, detail: str = "") -> Iterator[None]:
        began = time.monotonic()
        yield
        self._report.stage(name, time.monotonic() - began, detail)

    async def _watch(self, until: Until) -> None:
        began = time.monotonic()
        while True:
            look = await self._watcher.look()
            elapsed = time.monotonic() - began
            self._report.look(look, elapsed)
            if until.seconds is not None and elapsed >= until.seconds:
                return
            if until.height is not None and look.height >= until.height:
                return
            await trio.sleep(LOOK_PERIOD_S)

    async def _end(self) -> None:
        self._report.note("Ending all processes.")
        killed = await self._supervisor.end_all()
        for name in killed:
            self._report.note(f"{name} did not end by itself and was killed")
        write_record(self._folder, replace(self._record, pid=None))
        self._report.note(f"Ended. Everything is kept in {self._folder}")

    async def _obey_signals(self) -> None:
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            async for _ in signals:
                if self._stop.cancel_called:
                    self._supervisor.kill_all()  # asked twice: no more grace
                self._stop.cancel()

    async def _report_exits(self) -> None:
        async for exit_ in self._supervisor.exits:
            self._save()
            if exit_.expected:
                continue
            self._explain(exit_)
            if self._starting:
                self._fail(exit_.explain() + " while the testnet was starting")

    def _explain(self, exit_: Exit) -> None:
        log = self._children[exit_.name].log
        self._report.note(f"{exit_.explain()}; the end of {log}:", process=exit_.name, status=exit_.status)
        for line in tail(log):
            self._report.note(f"  | {line}")
        self._report.note(f"`headrace testnet start {exit_.name}` starts it again.")

    def _fail(self, why: str) -> None:
        self._failure = self._failure or StartFailed(why)
        self._stop.cancel()

    async def _carry_out(self, order: Order) -> None:
        try:
            match order.verb:
                case Verb.DOWN:
                    self._stop.cancel()
                case Verb.KILL | Verb.STOP:
                    await self._supervisor.end(order.name, hard=order.verb is Verb.KILL)
                    self._report.note(
                        f"{order.name} was {'killed' if order.verb is Verb.KILL else 'stopped'}"
                    )
                case Verb.START:
                    self._supervisor.start(order.name)
                    self._report.note(f"{order.name} was started again")
                case Verb.PING:
                    pass
        except KeyError:
            names = ", ".join(self._children)
            raise ControlError(f"no process is called {order.name!r}; there are {names}") from None
        except NotRunning as error:
            raise ControlError(str(error)) from None
        self._save()

    def _now(self) -> TestnetRecord:
        """The record with the pids of this moment."""
        pid = self._supervisor.pid
        return replace(
            self._record,
            nodes=tuple(replace(node, pid=pid(node.name)) for node in self._record.nodes),
            miners=tuple(replace(miner, pid=pid(miner.name)) for miner in self._record.miners),
            pid=os.getpid(),
        )

    def _save(self) -> None:
        write_record(self._folder, self._now())


def children_of(folder: Path, plan: TestnetPlan) -> dict[str, Child]:
    """The processes of a testnet by name, nodes first."""
    logs = folder / "logs"
    children = [
        Child(node.name, node_command(sys.executable, folder / node.name), logs / f"{node.name}.log")
        for node in plan.nodes
    ]
    children += [
        Child(
            miner.name, miner_command(sys.executable, miner, folder / miner.name), logs / f"{miner.name}.log"
        )
        for miner in plan.miners
    ]
    return {child.name: child for child in children}


def run_testnet(folder: Path, plan: TestnetPlan, report: Reporter, until: Until) -> None:
    """Run a testnet whose folder is ready, until something ends it.

    Raises:
        ControlError: Another testnet runs in the folder.
        StartFailed: It did not come up.
    """
    trio.run(_run_testnet, folder, plan, report, until)


async def _run_testnet(folder: Path, plan: TestnetPlan, report: Reporter, until: Until) -> None:
    listener = control.listen(folder)
    try:
        async with trio.open_nursery() as nursery:
            await Testnet(folder, plan, report, nursery).run(listener, until)
    finally:
        control.socket_path(folder).unlink(missing_ok=True)
