"""A testnet whose nodes are machines of their own: a namespace each, with wires that a test rules."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

from consensus.guard_log import Record, read_log
from tests.house import ROOT
from tests.network import namespaces
from tests.network.namespaces import Inside
from tools.rpc.client import CallFailed, Client, Unreachable
from tools.rpc.messages import BlockView, CommitteeView, Status
from tools.testnet.plan import MinerPlan, NodePlan, TestnetOptions, TestnetPlan, miner_command, node_command
from tools.testnet.prepare import make_testnet
from tools.testnet.supervisor import LEASH

ASK_AGAIN_S: Final = 0.25
CALL_S: Final = 3.0
END_S: Final = 15.0

_T = TypeVar("_T")


@dataclass
class Machine:
    """One validator with its miner, its namespace and its clock."""

    index: int
    plan: NodePlan
    miner: MinerPlan
    folder: Path
    inside: Inside
    skew: float = 0.0
    """Seconds that its clock is wrong when its node is started next."""
    processes: "dict[str, subprocess.Popen[bytes]]" = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The node's name."""
        return self.plan.name

    def start(self) -> None:
        """Start the node, and its miner if it does not run."""
        self._run("node", self._with_clock(node_command(sys.executable, self.folder / self.name)))
        if "miner" not in self.processes or self.processes["miner"].poll() is not None:
            home = self.folder / self.miner.name
            self._run("miner", miner_command(sys.executable, self.miner, home))

    def _with_clock(self, command: tuple[str, ...]) -> tuple[str, ...]:
        if not self.skew:
            return command
        assert command[1:3] == ("-m", "tools.cli.main")
        return (command[0], "-m", "tests.network.skewed", f"{self.skew}", *command[3:])

    def _run(self, what: str, command: tuple[str, ...]) -> None:
        enter = ("/usr/bin/env", "nsenter", f"--net={namespaces.path_of(self.name)}")
        leashed = [sys.executable, "-I", LEASH, str(os.getpid()), *enter, *command]
        with (self.folder / "logs" / f"{self.name}-{what}.log").open("ab") as log:
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
        self.inside.close()

    def ask(self, result: type[_T], method: str, **params: Any) -> _T | None:
        """Call the node's RPC; None if it does not answer."""
        client = Client(self.plan.rpc, timeout=CALL_S)
        try:
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


@dataclass
class Cluster:
    """All machines and the wires between them."""

    machines: list[Machine]
    switch: "subprocess.Popen[str]"

    def wires(self, **rules: Any) -> None:
        """Set the rules of the wires; without any, all is well."""
        assert self.switch.stdin is not None
        self.switch.stdin.write(json.dumps(rules) + "\n")
        self.switch.stdin.flush()

    def heights(self) -> list[int]:
        """Final heights, by machine."""
        return [machine.height() for machine in self.machines]

    def forks(self, first: int) -> list[str]:
        """Heights from one on at which two nodes differ in block or state root."""
        top = min(height for height in self.heights() if height >= 0)
        found = []
        for height in range(first, top + 1):
            blocks = [machine.ask(BlockView, "block", height=height) for machine in self.machines]
            seen = {(block.digest, block.state_root) for block in blocks if block is not None}
            if len(seen) != 1:
                found.append(f"height {height}: {len(seen)} different blocks")
        return found

    def seats(self) -> list[int]:
        """Seats in the present committee, by machine, as any node that answers sees them."""
        for machine in self.machines:
            committee = machine.ask(CommitteeView, "committee")
            if committee is not None:
                held = {holder.consensus_key: holder.seats for holder in committee.validators}
                keys = [m.plan.consensus.public_key for m in self.machines if m.plan.consensus is not None]
                return [held.get(key, 0) for key in keys]
        raise AssertionError("no node answers")


@contextmanager
def running_cluster(folder: Path, *, nodes: int, seed: int) -> Iterator[Cluster]:
    """Machines that are up, and gone afterwards whatever happened."""
    plan = make_testnet(folder, TestnetOptions(validators=nodes, seed=str(seed)))
    _use_addresses(folder, plan)
    names = [node.name for node in plan.nodes]
    machines: list[Machine] = []
    switch = None
    try:
        for name in names:
            namespaces.add(name)
        switch = _start_switch(names, seed)
        for index, (node, miner) in enumerate(zip(plan.nodes, plan.miners, strict=True)):
            machines.append(Machine(index, node, miner, folder, Inside(node.name)))
        for machine in machines:
            machine.start()
        yield Cluster(machines, switch)
    finally:
        for machine in machines:
            machine.end()
        if switch is not None:
            switch.kill()
            switch.wait()
        for name in names:
            namespaces.remove(name)


def _start_switch(names: Sequence[str], seed: int) -> "subprocess.Popen[str]":
    places = [f"{namespaces.path_of(name)}={namespaces.address_of(i)}" for i, name in enumerate(names)]
    program = (sys.executable, "-m", "tests.network.switch", str(seed), *places)
    leashed = (sys.executable, "-I", LEASH, str(os.getpid()), *program)
    switch = subprocess.Popen(leashed, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert switch.stdout is not None
    assert switch.stdout.readline() == "ready\n", "the switch did not start"
    return switch


def _use_addresses(folder: Path, plan: TestnetPlan) -> None:
    """Let each node listen on its own machine's address; the RPC stays on each machine's loopback."""
    place = {node.p2p_port: namespaces.address_of(index) for index, node in enumerate(plan.nodes)}

    def moved(match: re.Match[str]) -> str:
        return f"/ip4/{place[int(match[1])]}/tcp/{match[1]}"

    for node in plan.nodes:
        config = folder / node.name / "config.toml"
        text = config.read_text(encoding="utf-8")
        config.write_text(re.sub(r"/ip4/127\.0\.0\.1/tcp/(\d+)", moved, text), encoding="utf-8")


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
