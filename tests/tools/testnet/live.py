"""A testnet of real processes for tests, started by the very command that people use.

These tests alone wait for other processes by asking again and again; each wait has a deadline that only a
hang reaches, and says what was seen last.
"""

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from consensus.signing.guard_log import Record, RecordKind, read_log
from tests.house import ROOT
from tools.rpc.client import CallFailed, Client, Unreachable
from tools.rpc.messages import BlockView, Status
from tools.testnet.record import NodeRecord, TestnetRecord, read_record

START_S = 90.0
END_S = 40.0
ASK_AGAIN_S = 0.2

_T = TypeVar("_T")


class LiveTestnet:
    """A running testnet, seen from outside."""

    def __init__(self, folder: Path, process: "subprocess.Popen[str]") -> None:
        self.folder = folder
        self.process = process
        self.events: list[dict[str, Any]] = []
        self._lines: queue.Queue[str | None] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def wait_until_ready(self) -> None:
        """Read what `testnet up --json` prints up to the line that says it is ready."""
        deadline = time.monotonic() + START_S
        while not self.events or self.events[-1]["event"] != "ready":
            line = self._lines.get(timeout=max(0.1, deadline - time.monotonic()))
            assert line is not None, f"the testnet ended: {self.events[-8:]}"
            self.events.append(json.loads(line))

    @property
    def record(self) -> TestnetRecord:
        """testnet.json of this moment."""
        return read_record(self.folder)

    @property
    def validators(self) -> list[NodeRecord]:
        """Nodes that hold a consensus key."""
        return [node for node in self.record.nodes if node.consensus_key is not None]

    def node(self, name: str) -> NodeRecord:
        """A node by its name."""
        return next(node for node in self.record.nodes if node.name == name)

    def headrace(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run a command of ours to its end."""
        command = [sys.executable, "-m", "tools.cli.main", *arguments]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=150)

    def headrace_json(self, *arguments: str) -> Any:
        """Run a command that must succeed, and read its JSON."""
        done = self.headrace(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def status(self, name: str) -> Status | None:
        """A node's status; None if it does not answer."""
        try:
            return Client(self.node(name).rpc, timeout=5).call(Status, "status")
        except (Unreachable, CallFailed):
            return None

    def height(self, name: str) -> int:
        """Final height of a node; -1 if it does not answer."""
        status = self.status(name)
        return -1 if status is None else status.height

    def block(self, name: str, height: int) -> BlockView:
        """A final block as one node has it."""
        return Client(self.node(name).rpc).call(BlockView, "block", height=height)

    def signed(self, name: str) -> tuple[Record, ...]:
        """Everything that a validator has ever signed, from its log."""
        path = Path(self.node(name).dir) / "keys" / "consensus.json.signed"
        # The last record may be half written while its node lives.
        return read_log(path.read_bytes()).records

    def end(self) -> int:
        """Ask the testnet to end, as Ctrl-C does, and return its exit status."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(timeout=END_S)

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line)
        self._lines.put(None)


@contextmanager
def live_testnet(folder: Path, *options: str) -> Iterator[LiveTestnet]:
    """A testnet that is up, and is gone afterwards whatever happened."""
    command = [
        sys.executable,
        "-m",
        "tools.cli.main",
        "testnet",
        "up",
        "--json",
        "--dir",
        str(folder),
        *options,
    ]
    # Else the link to the developer's own last testnet would point to this one.
    environment = {**os.environ, "XDG_STATE_HOME": str(folder.parent / "state")}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            net = LiveTestnet(folder, process)
            net.wait_until_ready()
            yield net
        finally:
            process.terminate()
            try:
                process.wait(timeout=END_S)
            except subprocess.TimeoutExpired:
                process.kill()


def eventually(look: Callable[[], _T], wanted: Callable[[_T], bool], *, within: float, what: str) -> _T:
    """Look until it is as wanted.

    Raises:
        AssertionError: It was not in time; with what was seen last.
    """
    deadline = time.monotonic() + within
    while not wanted(seen := look()):
        assert time.monotonic() < deadline, f"{what}: not within {within:.0f} s, last seen {seen!r}"
        time.sleep(ASK_AGAIN_S)
    return seen


def is_alive(pid: int) -> bool:
    """Whether a process exists."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def contradictions(records: tuple[Record, ...]) -> list[str]:
    """Views in which a validator signed two things that exclude each other."""
    signed: dict[tuple[int, int, RecordKind], set[bytes]] = {}
    for record in records:
        if record.kind <= RecordKind.FINALIZE:
            signed.setdefault((record.epoch, record.view, record.kind), set()).add(record.digest)
    found = [f"{key}: {len(digests)} different" for key, digests in signed.items() if len(digests) > 1]
    for epoch, view, kind in signed:
        if kind is RecordKind.FINALIZE and (epoch, view, RecordKind.NULLIFY) in signed:
            found.append(f"epoch {epoch} view {view}: finalize and nullify")
    return found
