"""Kills a validator at every durable step: `python -m tests.crash --cycles 1000`.

First all nodes run for an epoch while they write down which steps they reach. Then, cycle after cycle, one of
four validators is started with the order to die before, at or after one of them. Everything that it answered
over RPC as final must be there when it is back, it must sign again, and no signing log may ever contradict
itself. With `--power` the victim's folder lies on a disk whose power is cut at that moment. With
`--full-disk` nothing is killed, but its disk is filled up; with `--slow-sync` its disk is slow.
"""

import argparse
import json
import random
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from tests.crash.armed import Order
from tests.crash.disks import PowerDisk, unavailable
from tests.crash.full_disk import full_disk
from tests.crash.slow_sync import slow_sync
from tests.crash.victim import next_victim, recover
from tests.network.cluster import Cluster, running_cluster
from tests.network.machine import Machine, eventually

START_S = 120.0
EXAMPLES = """examples:
  python -m tests.crash --cycles 1000            die before, at and after every durable step
  python -m tests.crash --cycles 300 --power     the same, without power
  python -m tests.crash --full-disk --cycles 30  fill the disk while it signs, starts, fetches
  python -m tests.crash --slow-sync --cycles 20  every sync late by 50 to 2,000 ms
"""
COMMON = 20
"""A step that an epoch reaches more often than this can wait for its fifth time."""
TURN = 20
"""Cycles with one victim before the next one's turn."""


@dataclass
class Tally:
    """What a campaign has seen."""

    cycles: int = 0
    reached: Counter[str] = field(default_factory=Counter)
    returns: list[float] = field(default_factory=list)

    def note(self, victim: str, order: Order, back: float | None, *, reached: bool) -> None:
        """One more cycle."""
        self.cycles += 1
        self.reached[f"{order.when} {order.step}"] += reached
        self.returns += [] if back is None else [back]
        line = {"cycle": self.cycles, "victim": victim, "step": order.step, "when": order.when}
        print(json.dumps(line | {"reached": reached, "back_s": back}), flush=True)


def learn_steps(cluster: Cluster, record: Path) -> Counter[str]:
    """Start a node again, let it run over an epoch's edge, and read how often it reached which steps.

    What happened once belongs to no epoch, such as saving the address book after minutes.
    """
    machine = cluster.machines[0]
    machine.signal(signal.SIGKILL)
    machine.disguise = ("tests.crash.armed", Order(record=str(record)).text())
    machine.start()
    last = max(cluster.heights()) + 90  # an epoch of the local preset has 40 blocks
    eventually(cluster.heights, lambda heights: min(heights) >= last, within=START_S, what=f"height {last}")
    seen = Counter(record.read_text(encoding="utf-8").splitlines())
    return Counter({step: count for step, count in seen.items() if count > 1})


def orders(steps: Counter[str], draw: random.Random) -> list[Order]:
    """Each step in each way once, in random order; common ones not always at their first time."""
    counts = {step: [1, 2, 3, 5] if seen > COMMON else [1] for step, seen in steps.items()}
    deck = [
        Order(step=step, when=when, count=draw.choice(counts[step]))
        for step in sorted(steps)
        for when in ("before", "at", "after")
    ]
    draw.shuffle(deck)
    return deck


def campaign(
    cluster: Cluster, *, steps: Counter[str], cycles: int, seed: int, disks: dict[str, PowerDisk]
) -> Tally:
    """Kill, cycle after cycle; every step in every way before any a second time.

    Raises:
        AssertionError: An acknowledged block is lost, or the victim does not sign again.
    """
    draw = random.Random(seed)
    deck: list[Order] = []
    tally = Tally()
    while tally.cycles < cycles:
        victim = next_victim(cluster, draw, disks)
        for _ in range(min(TURN, cycles - tally.cycles)):
            deck = deck or orders(steps, draw)
            order = replace(deck.pop(), power=str(victim.disk.mount) if victim.disk else "")
            back, reached = victim.cycle(order)
            tally.note(victim.machine.name, order, back, reached=reached)
        recover(cluster, victim)
    return tally


def main(arguments: Sequence[str]) -> int:
    """Run the campaign; 0 if nothing was lost."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.crash", description=__doc__, epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--cycles", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0, help="0 draws one")
    ways = parser.add_mutually_exclusive_group()
    ways.add_argument("--power", action="store_true", help="cut the power of the victim's disk (needs root)")
    ways.add_argument("--full-disk", action="store_true", help="fill the victim's disk up (needs root)")
    ways.add_argument("--slow-sync", action="store_true", help="make every sync of the victim late")
    options = parser.parse_args(arguments)
    reason = unavailable() if options.power or options.full_disk else None
    if reason is not None:
        print(f"cannot run here: {reason}", file=sys.stderr)
        return 2
    seed = options.seed or random.SystemRandom().randrange(1, 1 << 32)
    print(f"--seed {seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="headrace-crash-") as scratch:
        if options.full_disk or options.slow_sync:
            hurt = full_disk if options.full_disk else slow_sync
            print(hurt(Path(scratch), cycles=options.cycles, seed=seed))
            return 0
        tally = run(Path(scratch), cycles=options.cycles, seed=seed, power=options.power)
    times = sorted(tally.returns)
    unreached = sorted(step for step, count in tally.reached.items() if not count)
    print(
        f"{tally.cycles} cycles, {sum(tally.reached.values())} at {len(tally.reached)} points, "
        f"0 blocks lost, 0 contradictions; signing again after {times[len(times) // 2]:.1f} s (median), "
        f"{times[len(times) * 99 // 100]:.1f} s (99 %), {times[-1]:.1f} s (longest); "
        f"never reached: {unreached}"
    )
    return 0


def run(scratch: Path, *, cycles: int, seed: int, power: bool) -> Tally:
    """Start a cluster, learn its steps, kill."""
    record = scratch / "steps"
    record.touch()
    disks: dict[str, PowerDisk] = {}

    def on_disk(machine: Machine) -> None:
        if power and machine.index == 0:
            disk = PowerDisk(scratch / f"{machine.name}.ext4", machine.folder / machine.name)
            disk.make()
            disks[machine.name] = disk

    try:
        with running_cluster(scratch / "net", nodes=4, seed=seed, prepare=on_disk) as cluster:
            eventually(
                cluster.heights, lambda heights: min(heights) >= 3, within=START_S, what="three blocks"
            )
            steps = learn_steps(cluster, record)
            print(json.dumps(steps), flush=True)
            return campaign(cluster, steps=steps, cycles=cycles, seed=seed, disks=disks)
    finally:
        for disk in disks.values():
            disk.unmount()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
