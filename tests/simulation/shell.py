"""Tier 2: whole nodes on trio, with real signatures, over the network in memory, under virtual time and a
seed.

What tier 0 leaves out is what this is about: tasks, queues, cancellation, and the order in which they get
their turn.
"""

import hashlib
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import trio

from p2p.memory import Link
from tests.simulation.schedule import Steps, run_seeded
from tests.tools.node.cluster import Cluster, open_cluster, peer_of

_NODES = 4
_TROUBLES = 6
_GAIN = 5
_RECOVERY_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class ShellRun:
    """What one seed showed."""

    seed: int
    heights: tuple[int, ...]
    recovery_seconds: float
    steps: int
    trace: str
    """Of every step of every task."""


def run_shell(seed: int) -> ShellRun:
    """Kill, cut and slow down a cluster; then it must agree and go on.

    Raises:
        AssertionError: It forked, or stood still after healing.
    """
    steps = Steps()
    with tempfile.TemporaryDirectory() as folder:
        heights, recovery = run_seeded(lambda: _live(Path(folder), seed), seed=seed, instruments=(steps,))
    trace = hashlib.sha256(repr(steps.taken).encode()).hexdigest()[:32]
    return ShellRun(seed, heights, recovery, len(steps.taken), trace)


async def _live(folder: Path, seed: int) -> tuple[tuple[int, ...], float]:
    rng = Random(f"shell/{seed}")
    async with open_cluster(folder, _NODES, seed=seed) as cluster:
        await cluster.reach(1)
        for _ in range(_TROUBLES):
            await _trouble(cluster, rng)
        _heal(cluster)
        for index in range(_NODES):
            if index not in cluster.nodes:
                await cluster.start(index)
        began, goal = trio.current_time(), max(_heights(cluster)) + _GAIN
        with trio.move_on_after(_RECOVERY_SECONDS):
            await cluster.reach(goal)
        assert min(_heights(cluster)) >= goal, f"seed {seed}: stall, {_heights(cluster)} of {goal}"
        _check_agreement(cluster, seed)
        return tuple(_heights(cluster)), trio.current_time() - began


async def _trouble(cluster: Cluster, rng: Random) -> None:
    draw, index = rng.random(), rng.randrange(_NODES)
    if draw < 0.4:
        if index in cluster.nodes and len(cluster.nodes) == _NODES:
            await cluster.kill(index)
            await trio.sleep(rng.uniform(0.1, 4))
            await cluster.start(index)
    elif draw < 0.7:
        others = [peer_of(i) for i in range(_NODES) if i != index]
        cluster.hub.partition([peer_of(index)], others)
    elif draw < 0.85:
        slow = Link(delay=0.05, jitter=rng.uniform(0.1, 0.6), loss=rng.choice([0.0, 0.1, 0.3]))
        for sender in range(_NODES):
            if sender != index:
                cluster.hub.set_link(peer_of(sender), peer_of(index), slow)
    else:
        _heal(cluster)
    await trio.sleep(rng.uniform(0.5, 5))


def _heal(cluster: Cluster) -> None:
    cluster.hub.heal()
    for sender in range(_NODES):
        for receiver in range(_NODES):
            if sender != receiver:
                cluster.hub.set_link(peer_of(sender), peer_of(receiver), Link(delay=0.005, jitter=0.01))


def _heights(cluster: Cluster) -> list[int]:
    return [node.head.height for _, node in sorted(cluster.nodes.items())]


def _check_agreement(cluster: Cluster, seed: int) -> None:
    for height in range(1, min(_heights(cluster)) + 1):
        blocks = {node.store.block(height).digest for node in cluster.nodes.values()}
        assert len(blocks) == 1, f"seed {seed}: {len(blocks)} blocks at height {height}"


def run_shells(seeds: Sequence[int]) -> int:
    """Run every seed; 0 if all held."""
    failed = 0
    for seed in seeds:
        try:
            print(run_shell(seed), flush=True)
        except AssertionError as error:
            failed += 1
            print(f"FAILED seed {seed}: {error}", flush=True)
    return 1 if failed else 0
