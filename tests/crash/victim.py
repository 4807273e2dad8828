"""A validator that is hurt again and again, and what it is held to."""

import random
import signal
import time
from dataclasses import dataclass

from chain.types.committee import is_quorum
from tests.crash.armed import Order
from tests.crash.disks import PowerDisk
from tests.network.cluster import Cluster
from tests.network.machine import Machine, eventually
from tests.tools.testnet.live import contradictions
from tools.rpc.messages import BlockView

BACK_S = 20.0
REACH_S = 24.0
"""In which a step of an epoch should be reached again; else the victim is killed where it stands."""
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
        signed = self.machine.last_signed()
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

    def _signed(self, before: tuple[int, int]) -> tuple[int, int]:
        try:
            return self.machine.last_signed()
        except OSError:  # the power is gone, and the process will follow
            return before


def recover(cluster: Cluster, victim: Victim, *, within: float = BACK_S) -> float:
    """Start the victim without an order, and wait until it is at the head; seconds."""
    victim.machine.disguise = ()
    victim.machine.start()
    took = eventually(
        lambda: max(cluster.heights()) - victim.machine.height(), lambda behind: behind <= 2,
        within=within, what="blocks behind at the end of a turn",
    )  # fmt: skip
    victim.watch()
    assert not contradictions(victim.machine.signed()), victim.machine.name
    return took


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
