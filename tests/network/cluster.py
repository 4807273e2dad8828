"""A testnet whose nodes are machines of their own: a namespace each, with wires that a test rules."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
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
