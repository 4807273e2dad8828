"""Kills a validator at every durable step: `python -m tests.crash --cycles 1000`.

First all nodes run for an epoch while they write down which steps they reach. Then, cycle after cycle, one of
four validators is started with the order to die before, at or after one of them. Everything that it answered
over RPC as final must be there when it is back, it must sign again, and no signing log may ever contradict
itself. With `--power` the victim's folder lies on a disk whose power is cut at that moment.
"""

import argparse
import json
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from chain.types.committee import is_quorum
from tests.crash.armed import Order
from tests.crash.disks import PowerDisk, unavailable
from tests.network.cluster import Cluster, running_cluster
from tests.network.machine import Machine, eventually
from tests.tools.testnet.live import contradictions
from tools.rpc.messages import BlockView

START_S = 120.0
BACK_S = 20.0
REACH_S = 24.0
"""In which a step of an epoch should be reached again; else the victim is killed where it stands."""
COMMON = 20
"""A step that an epoch reaches more often than this can wait for its fifth time."""
TURN = 20
"""Cycles with one victim before the next one's turn."""
LOOK_S = 0.1


@dataclass
class Victim:
    """What is known of the machine that dies again and again."""

    machine: Machine
    disk: PowerDisk | None
    acknowledged: tuple[int, bytes] = (-1, b"")
    """Height and digest that it last answered as final."""

    def watch(self) -> None:
        """Note what it answers, and hold it to what it answered before."""
        status = self.machine.status()
        if status is None:
            return
        height, digest = self.acknowledged
        assert status.height >= height, f"{self.machine.name} lost blocks: {status.height} after {height}"
        if status.height > height >= 0:
            block = self.machine.ask(BlockView, "block", height=height)
            assert block is None or block.digest == digest, f"{self.machine.name} changed block {height}"
        self.acknowledged = (status.height, status.block)

    def cycle(self, order: Order) -> tuple[float | None, bool]:
        """Start with an order to die; seconds to its first signature, and whether the step was reached."""
        signed = len(self.machine.signed())
        self.machine.disguise = ("tests.crash.armed", order.text())
        began = time.monotonic()
        self.machine.start()
        process = self.machine.processes["node"]
        back: float | None = None
        while process.poll() is None:
            waited = time.monotonic() - began
            if back is None and self._signed(signed) > signed:
                back = waited
            assert back is not None or waited < BACK_S, (
                f"{self.machine.name} has not signed for {waited:.0f} s"
            )
            if waited > (back or 0.0) + REACH_S:
                process.kill()
                process.wait()
                return back, False
            self.watch()
            time.sleep(LOOK_S)
        log = self.machine.log.read_text(encoding="utf-8", errors="replace")[-2000:]
        assert process.returncode == -signal.SIGKILL, f"{self.machine.name} ended by itself: {log}"
        if self.disk is not None:
            self.disk.remount()
        return back, True

    def _signed(self, before: int) -> int:
        try:
            return len(self.machine.signed())
        except OSError:  # the power is gone, and the process will follow
            return before


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


def recover(cluster: Cluster, victim: Victim) -> None:
    """Start the victim without an order, and wait until it is at the head."""
    victim.machine.disguise = ()
    victim.machine.start()
    eventually(
        lambda: max(cluster.heights()) - victim.machine.height(), lambda behind: behind <= 2,
        within=BACK_S, what="blocks behind at the end of a turn",
    )  # fmt: skip
    victim.watch()
    assert not contradictions(victim.machine.signed()), victim.machine.name


def next_victim(cluster: Cluster, draw: random.Random, disks: dict[str, PowerDisk]) -> Victim:
    """A running machine that the others can spare, ended so that its first cycle can start it."""
    seats = cluster.seats()
    spare = [m for m, held in zip(cluster.machines, seats, strict=True)
             if is_quorum(sum(seats) - held, sum(seats)) and (not disks or m.name in disks)]  # fmt: skip
    machine = draw.choice(spare or [m for m in cluster.machines if not disks or m.name in disks])
    victim = Victim(machine, disks.get(machine.name))
    victim.watch()
    machine.signal(signal.SIGKILL)
    return victim


def main(arguments: Sequence[str]) -> int:
    """Run the campaign; 0 if nothing was lost."""
    parser = argparse.ArgumentParser(prog="python -m tests.crash", description=__doc__)
    parser.add_argument("--cycles", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0, help="0 draws one")
    parser.add_argument(
        "--power", action="store_true", help="cut the power of the victim's disk (needs root)"
    )
    options = parser.parse_args(arguments)
    reason = unavailable() if options.power else None
    if reason is not None:
        print(f"cannot run here: {reason}", file=sys.stderr)
        return 2
    seed = options.seed or random.SystemRandom().randrange(1, 1 << 32)
    print(f"--seed {seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="headrace-crash-") as scratch:
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
