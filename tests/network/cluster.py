"""A testnet whose nodes are machines of their own: a namespace each, with wires that a test rules."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tests.house import ROOT
from tests.network import namespaces
from tests.network.machine import Machine
from tests.network.namespaces import Inside
from tools.rpc.messages import BlockView, CommitteeView
from tools.testnet.plan import TestnetOptions, TestnetPlan
from tools.testnet.prepare import make_testnet
from tools.testnet.supervisor import LEASH


@dataclass
class Cluster:
    """All machines."""

    machines: list[Machine]

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


@dataclass
class WiredCluster(Cluster):
    """All machines and the wires between them."""

    switch: "subprocess.Popen[str]"

    def wires(self, **rules: Any) -> None:
        """Set the rules of the wires; without any, all is well."""
        assert self.switch.stdin is not None
        self.switch.stdin.write(json.dumps(rules) + "\n")
        self.switch.stdin.flush()


@contextmanager
def running_cluster(
    folder: Path, *, nodes: int, seed: int, prepare: Callable[[Machine], None] | None = None
) -> Iterator[Cluster]:
    """Machines on this machine's own network that are up, and gone afterwards whatever happened.

    Args:
        folder: the testnet's, to be made.
        nodes: validators.
        seed: of their keys.
        prepare: is given each machine before it is started.
    """
    plan = make_testnet(folder, TestnetOptions(validators=nodes, seed=str(seed)))
    with _started(_machines(folder, plan), prepare or (lambda _: None)) as machines:
        yield Cluster(machines)


@contextmanager
def wired_cluster(folder: Path, *, nodes: int, seed: int) -> Iterator[WiredCluster]:
    """Machines with a network each, joined by wires; they need what `namespaces.unavailable` asks for."""
    plan = make_testnet(folder, TestnetOptions(validators=nodes, seed=str(seed)))
    _use_addresses(folder, plan)
    names = [node.name for node in plan.nodes]
    switch = None
    try:
        for name in names:
            namespaces.add(name)
        switch = _start_switch(names, seed)
        machines = [replace(machine, inside=Inside(machine.name)) for machine in _machines(folder, plan)]
        with _started(machines, lambda _: None):
            yield WiredCluster(machines, switch)
    finally:
        if switch is not None:
            switch.kill()
            switch.wait()
        for name in names:
            namespaces.remove(name)


def _machines(folder: Path, plan: TestnetPlan) -> list[Machine]:
    pairs = enumerate(zip(plan.nodes, plan.miners, strict=True))
    return [Machine(index, node, miner, folder) for index, (node, miner) in pairs]


@contextmanager
def _started(machines: list[Machine], prepare: Callable[[Machine], None]) -> Iterator[list[Machine]]:
    try:
        for machine in machines:
            prepare(machine)
            machine.start()
        yield machines
    finally:
        for machine in machines:
            machine.end()


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
