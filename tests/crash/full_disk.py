"""Fills a validator's disk at random moments: `python -m tests.crash --full-disk --cycles 30`.

One of four validators lies on a disk of its own (an ext4 file system in a file). Cycle after cycle it is
started, and a file takes all the room that is left: while it signs, starts, or fetches the chain anew, down
to its floor or to nothing. It must end by itself, say why, with the exit code of a disk; have signed nothing
that contradicts its log; and, once there is room, hold every block that it ever answered as final, and sign
again.
"""

import json
import random
import re
import shutil
import signal
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.crash.ballast import Ballast
from tests.crash.disks import PowerDisk
from tests.crash.victim import LOOK_S, Victim
from tests.network.cluster import Cluster, running_cluster
from tests.network.machine import Machine, eventually
from tests.tools.testnet.live import contradictions
from tools.cli.errors import Exit

KINDS: Final = ("running", "starting", "floor", "low", "fetching", "state")
"""When the disk is filled, and how far."""

START_S: Final = 120.0
END_S: Final = 30.0
"""In which a node whose disk is full must have ended by itself."""
SIGN_S: Final = 60.0
"""In which a node that has seats signs after a start: it catches up, and after a longer absence it first
watches for twenty heights that nobody else holds its key. While blocks come in it may take longer."""
RESERVE: Final = 64_000_000
FLOOR: Final = 24_000_000
TOLD: Final = re.compile(r"error: disk (full|nearly full) at \S+: [\d.]+ MB left")
STATE_FROM: Final = 90
"""Height from which on peers have a state to begin with: two epochs of the local preset."""


@dataclass
class Tally:
    """What the cycles have seen."""

    kinds: Counter[str] = field(default_factory=Counter)
    ends: list[float] = field(default_factory=list)
    """Seconds from the full disk to the node's end."""
    returns: list[float] = field(default_factory=list)
    """Seconds from the start with room to the first signature."""
    unfilled: int = 0
    """Cycles in which the node got by with the room that was left."""


def full_disk(scratch: Path, *, cycles: int, seed: int) -> str:
    """Run the campaign; what it saw, in a line.

    Raises:
        AssertionError: A block is lost, a signature contradicts another, or the node does not end as it must.
    """
    draw, tally = random.Random(seed), Tally()
    with _cluster(scratch, seed) as (cluster, disk):
        victim = Victim(cluster.machines[0], None)
        eventually(
            cluster.heights, lambda heights: min(heights) >= STATE_FROM, within=START_S, what="two epochs"
        )
        deck: list[str] = []
        for cycle in range(1, cycles + 1):
            deck = deck or draw.sample(KINDS, len(KINDS))
            kind = deck.pop()
            line = _Cycle(victim, Ballast(disk.mount), draw, tally).run(kind)
            print(json.dumps({"cycle": cycle, "kind": kind} | line), flush=True)
            forks = cluster.forks(max(1, victim.acknowledged[0] - 20))
            assert not forks, forks
    return _summary(tally)


@dataclass
class _Cycle:
    victim: Victim
    ballast: Ballast
    draw: random.Random
    tally: Tally

    def run(self, kind: str) -> dict[str, object]:
        """Start, fill, see it end, give room, see it sign."""
        machine = self.victim.machine
        self.victim.watch()
        machine.signal(signal.SIGTERM)
        storage(machine, floor=FLOOR if kind == "floor" else 0, state_sync=kind == "state")
        if kind in ("fetching", "state"):
            shutil.rmtree(machine.folder / machine.name / "data" / "chain")
        said = machine.log.stat().st_size
        before = machine.last_signed()
        if kind == "starting":
            self.ballast.fill(leave=self.draw.randrange(0, 1 << 18))
        machine.start()
        if kind in ("running", "floor", "low"):
            self.signs(before, what=f"{machine.name} before its disk is full")
        elif kind != "starting" and self.draw.random() < 2 / 3:
            # Not while it opens its database, but with the first blocks or pieces on their way.
            eventually(
                lambda: machine.log.read_bytes()[said:], lambda log: b"event=network_open" in log,
                within=END_S, what="a network",
            )  # fmt: skip
        time.sleep(self.draw.uniform(0, 1))
        if kind == "low":
            self.is_low(said)
        ended = self.end(leave=FLOOR // 2 if kind == "floor" else 0)
        told = machine.log.read_bytes()[said:].decode(errors="replace")
        assert ended is None or TOLD.search(told), told[-3000:]
        records = machine.signed()
        assert not contradictions(records), contradictions(records)
        self.ballast.free()
        storage(machine, floor=FLOOR, state_sync=kind == "state")
        machine.start()
        back = self.signs(machine.last_signed(), what=f"{machine.name} with room again")
        self.known(within=SIGN_S)
        assert not contradictions(machine.signed()), contradictions(machine.signed())
        self.tally.kinds[kind] += 1
        self.tally.returns.append(back)
        left = re.findall(r"error: (disk .*)", told)
        return {
            "ended_s": ended,
            "back_s": back,
            "told": left[-1:],
        }

    def is_low(self, said: int) -> None:
        """Below the reserve the node says so, and goes on."""
        machine = self.victim.machine
        self.ballast.fill(leave=RESERVE // 2)
        eventually(
            machine.status, lambda now: now is not None and "low disk: " in now.disk,
            within=END_S, what="a status that says that the disk is low",
        )  # fmt: skip
        assert b"disk low free=" in machine.log.read_bytes()[said:]
        self.signs(machine.last_signed(), what=f"{machine.name} with a low disk")

    def end(self, *, leave: int) -> float | None:
        """Keep the disk full until the node ends; seconds that it took, None if it got by."""
        machine, process = self.victim.machine, self.victim.machine.processes["node"]
        began = time.monotonic()
        while process.poll() is None and time.monotonic() < began + END_S:
            self.ballast.fill(leave=leave)
            self.watch_if_whole()
            time.sleep(LOOK_S)
        if process.poll() is None:
            # One that fetches, and has not begun to write: nothing failed.
            self.tally.unfilled += 1
            machine.signal(signal.SIGKILL)
            return None
        assert process.returncode == Exit.DISK, (
            f"ended with {process.returncode}: {machine.log.read_text(errors='replace')[-3000:]}"
        )
        self.tally.ends.append(time.monotonic() - began)
        return round(time.monotonic() - began, 1)

    def signs(self, before: tuple[int, int], *, what: str) -> float:
        """Wait for a signature of a later view; seconds, but those in which it has no seat."""
        machine, waited, stalled, looked, top = self.victim.machine, 0.0, 0.0, time.monotonic(), -1
        while machine.last_signed() <= before:
            assert stalled < SIGN_S, f"{what}: no signature within {SIGN_S:.0f} s, {machine.status()}"
            self.watch_if_whole()
            time.sleep(LOOK_S)
            now, status = time.monotonic(), machine.status()
            if status is None or status.syncing or status.own_seats:
                # Its miner cannot work without it: who was away for long may have no seat for an epoch.
                waited, stalled = waited + now - looked, stalled + now - looked
            if status is not None and status.syncing and status.height > top:
                stalled, top = (
                    0.0,
                    status.height,
                )  # every block again, on a machine that does other things too
            looked = now
        return round(waited, 1)

    def watch_if_whole(self) -> None:
        """Hold it to what it answered; one that fetches its chain anew is below that for a while."""
        status = self.victim.machine.status()
        if status is not None and status.height >= self.victim.acknowledged[0]:
            self.victim.watch()

    def known(self, *, within: float) -> None:
        """Everything that was ever answered as final is there, with the same digest."""
        height = self.victim.acknowledged[0]
        eventually(
            self.victim.machine.height, lambda now: now > height, within=within, what=f"above height {height}"
        )
        self.victim.watch()


def storage(machine: Machine, *, floor: int, state_sync: bool) -> None:
    """Set how much room the node wants, and how it begins."""
    config = machine.folder / machine.name / "config.toml"
    text = config.read_text(encoding="utf-8").partition("\n[storage]\n")[0]
    lines = [
        "", "[storage]",
        f'reserve = "{RESERVE // 1000}KB"',
        f'floor = "{floor // 1000}KB"',
        f'state_sync = "{"always" if state_sync else "never"}"',
    ]  # fmt: skip
    config.write_text(text + "\n".join(lines) + "\n", encoding="utf-8")


@contextmanager
def _cluster(scratch: Path, seed: int) -> Iterator[tuple[Cluster, PowerDisk]]:
    disks: list[PowerDisk] = []

    def on_disk(machine: Machine) -> None:
        if machine.index == 0:
            disk = PowerDisk(scratch / f"{machine.name}.ext4", machine.folder / machine.name)
            disk.make()
            disks.append(disk)
            storage(machine, floor=0, state_sync=False)

    try:
        with running_cluster(scratch / "net", nodes=4, seed=seed, prepare=on_disk) as cluster:
            yield cluster, disks[0]
    finally:
        for disk in disks:
            disk.unmount()


def _summary(tally: Tally) -> str:
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(tally.kinds.items()))
    return (
        f"{sum(tally.kinds.values())} cycles ({kinds}), {len(tally.ends)} ended by themselves "
        f"{_spread(tally.ends)} after the disk was full, {tally.unfilled} got by; 0 blocks lost, "
        f"0 contradictions; signing again {_spread(tally.returns)} after the start with room"
    )


def _spread(seconds: Sequence[float]) -> str:
    ordered = sorted(seconds)
    if not ordered:
        return "never"
    return f"{ordered[len(ordered) // 2]:.1f} s (median), {ordered[-1]:.1f} s (longest)"
