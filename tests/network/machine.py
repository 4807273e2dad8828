"""A validator of real processes, started and asked from outside."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

from consensus.signing.guard_log import Record, RecordKind, read_log
from tests.house import ROOT
from tests.network.namespaces import Inside
from tools.rpc.client import CallFailed, Client, Unreachable
from tools.rpc.messages import Status
from tools.testnet.plan import MinerPlan, NodePlan, miner_command, node_command
from tools.testnet.supervisor import LEASH

ASK_AGAIN_S: Final = 0.25
CALL_S: Final = 3.0
END_S: Final = 15.0

_T = TypeVar("_T")


@dataclass
class Machine:
    """One validator with its miner.

    Args:
        index: its number, from 0.
        plan: of the node.
        miner: of the miner.
        folder: the testnet's.
        inside: its own network; None on a machine that all share.
        disguise: a module of the tests, and its arguments, as which the node's command is run when it is
            started next: one that shifts its clock, or kills it at a given step.
    """

    index: int
    plan: NodePlan
    miner: MinerPlan
    folder: Path
    inside: Inside | None = None
    disguise: tuple[str, ...] = ()
    processes: "dict[str, subprocess.Popen[bytes]]" = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The node's name."""
        return self.plan.name

    @property
    def log(self) -> Path:
        """What the node has said."""
        return self.folder / "logs" / f"{self.name}-node.log"

    def start(self) -> None:
        """Start the node, and its miner if it does not run."""
        self._run("node", self._disguised(node_command(sys.executable, self.folder / self.name)))
        if "miner" not in self.processes or self.processes["miner"].poll() is not None:
            home = self.folder / self.miner.name
            self._run("miner", miner_command(sys.executable, self.miner, home))

    def _disguised(self, command: tuple[str, ...]) -> tuple[str, ...]:
        python, *as_module, main = command[:3]
        assert (*as_module, main) == ("-m", "tools.cli.main")
        return (python, "-m", *self.disguise, *command[3:]) if self.disguise else command

    def _run(self, what: str, command: tuple[str, ...]) -> None:
        enter = self.inside.command if self.inside is not None else ()
        leashed = [sys.executable, "-I", LEASH, str(os.getpid()), *enter, *command]
        with self.log.with_name(f"{self.name}-{what}.log").open("ab") as log:
            self.processes[what] = subprocess.Popen(
                leashed, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )

    def signal(self, number: int) -> None:
        """Send the node a signal; wait for its end if that is what it means."""
        process = self.processes["node"]
        process.send_signal(number)
        if number in (signal.SIGKILL, signal.SIGTERM):
            try:
                process.wait(END_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def end(self) -> None:
        """End everything that runs here."""
        for process in self.processes.values():
            process.kill()
            process.wait()
        if self.inside is not None:
            self.inside.close()

    def ask(self, result: type[_T], method: str, **params: Any) -> _T | None:
        """Call the node's RPC; None if it does not answer."""
        client = Client(self.plan.rpc, timeout=CALL_S)
        try:
            if self.inside is None:
                return client.call(result, method, **params)
            return self.inside.call(lambda: client.call(result, method, **params))
        except (Unreachable, CallFailed):
            return None

    def status(self) -> Status | None:
        """The node's status."""
        return self.ask(Status, "status")

    def height(self) -> int:
        """Its final height; -1 if it does not answer."""
        status = self.status()
        return -1 if status is None else status.height

    def signed(self) -> tuple[Record, ...]:
        """All that its signing log holds."""
        log = self.folder / self.name / "keys" / "consensus.json.signed"
        return read_log(log.read_bytes()).records

    def last_signed(self) -> tuple[int, int]:
        """Epoch and view of its newest signature; a log written anew may hold fewer."""
        signed = [record for record in self.signed() if record.kind <= RecordKind.FINALIZE]
        return max(((record.epoch, record.view) for record in signed), default=(-1, -1))


def eventually(look: Callable[[], _T], wanted: Callable[[_T], bool], *, within: float, what: str) -> float:
    """Look until it is as wanted; seconds that it took.

    Raises:
        AssertionError: It was not in time; with what was seen last.
    """
    began = time.monotonic()
    while not wanted(seen := look()):
        waited = time.monotonic() - began
        assert waited < within, f"{what}: not within {within:.0f} s, last seen {seen!r}"
        time.sleep(ASK_AGAIN_S)
    return time.monotonic() - began
