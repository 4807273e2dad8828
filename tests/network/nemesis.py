"""What goes wrong on a real network, drawn from a seed: one thing at a time, then all must be well again."""

import random
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from chain.types.committee import is_quorum
from tests.network.cluster import WiredCluster
from tests.network.machine import Machine, eventually

BACK_S: Final = 20.0
"""In which every node must be at the head again, voting, after the trouble has ended."""
HOUR: Final = 3600.0


@dataclass(frozen=True, slots=True)
class Trouble:
    """One perturbation and how it ended."""

    number: int
    kind: str
    what: str
    back_s: float


class Nemesis:
    """Draws and makes trouble."""

    def __init__(self, cluster: WiredCluster, seed: int) -> None:
        self._cluster = cluster
        self._draw = random.Random(seed)
        self._kinds: dict[str, Callable[[], str]] = {
            "kill": self._kill,
            "restart": self._restart,
            "pause": self._pause,
            "disconnect": self._disconnect,
            "loss": self._loss,
            "delay": self._delay,
            "partition": self._partition,
            "one-way": self._one_way,
            "bridge": self._bridge,
            "skew": self._skew,
        }
        self._deck: list[str] = []
        self._wrong: Machine | None = None
        """Whose clock is wrong: as faulty as a traitor to the others, so one machine's at a time."""

    def strike(self, number: int) -> Trouble:
        """Make one trouble, end it, and wait until every node is back in consensus."""
        if not self._deck:
            self._deck = self._draw.sample(sorted(self._kinds), len(self._kinds))
        kind = self._deck.pop()
        if self._wrong is not None and self._wrong not in self._spare():
            # It has earned a third of the seats since: without it nothing is promised.
            self._set_right()
        what = self._kinds[kind]()
        return Trouble(number, kind, what, self._all_back(f"{number} {kind} ({what})"))

    def _all_back(self, what: str) -> float:
        """Every node at the head and signing, the chain two blocks further than when the trouble ended."""
        cluster = self._cluster
        signed = [machine.last_signed() for machine in cluster.machines]
        goal = max(cluster.heights()) + 2

        def seen() -> list[tuple[int, bool]]:
            heights = cluster.heights()
            fresh = [m.last_signed() > last for m, last in zip(cluster.machines, signed, strict=True)]
            return list(zip(heights, fresh, strict=True))

        # Without seats in this epoch a node has nothing to sign.
        seats = cluster.seats()

        def wanted(state: list[tuple[int, bool]]) -> bool:
            top = max(height for height, _ in state)
            at_head = all(goal <= height >= top - 2 for height, _ in state)
            return at_head and all(fresh or not held for (_, fresh), held in zip(state, seats, strict=True))

        return eventually(
            seen, wanted, within=BACK_S, what=f"after {what}: (height, signed since), to {goal}"
        )

    def _victim(self) -> Machine:
        """A node without which the others still have a quorum."""
        return self._draw.choice(self._spare() or self._cluster.machines)

    def _spare(self) -> list[Machine]:
        seats = self._cluster.seats()
        return [
            machine
            for machine, held in zip(self._cluster.machines, seats, strict=True)
            if is_quorum(sum(seats) - held, sum(seats))
        ]

    def _kill(self) -> str:
        victim = self._victim()
        victim.signal(signal.SIGKILL)
        time.sleep(self._draw.uniform(0, 3))
        victim.start()
        return victim.name

    def _restart(self) -> str:
        victim = self._victim()
        victim.signal(signal.SIGTERM)
        victim.start()
        return victim.name

    def _pause(self) -> str:
        victim = self._victim()
        seconds = self._draw.uniform(2, 10)
        victim.signal(signal.SIGSTOP)
        time.sleep(seconds)
        victim.signal(signal.SIGCONT)
        return f"{victim.name}, {seconds:.1f} s"

    def _skew(self) -> str:
        """A restart with a wrong clock, which stays wrong until the next skew of any machine."""
        victim = self._victim()
        if self._wrong not in (None, victim):
            self._set_right()
        shift = self._draw.choice([-4 * HOUR, -60.0, 0.0, 60.0, 4 * HOUR])
        victim.disguise = ("tests.network.skewed", f"{shift}")
        victim.signal(signal.SIGKILL)
        victim.start()
        self._wrong = victim
        return f"{victim.name} by {shift:+.0f} s"

    def _set_right(self) -> None:
        """The machine with the wrong clock starts again with the right one."""
        assert self._wrong is not None
        self._wrong.disguise = ()
        self._wrong.signal(signal.SIGKILL)
        self._wrong.start()
        self._wrong = None

    def _disconnect(self) -> str:
        victim = self._victim()
        wires = [(victim.index, other) for other in self._others(victim)]
        return f"{victim.name}, {self._cut(wires, both=True)}"

    def _one_way(self) -> str:
        """Nothing reaches the victim, though all hear it."""
        victim = self._victim()
        return f"{victim.name} deaf, {self._cut([(other, victim.index) for other in self._others(victim)])}"

    def _partition(self) -> str:
        """Two halves; neither need have a quorum."""
        order = self._draw.sample(range(len(self._cluster.machines)), len(self._cluster.machines))
        left, right = order[: len(order) // 2], order[len(order) // 2 :]
        return (
            f"{sorted(left)}|{sorted(right)}, {self._cut([(a, b) for a in left for b in right], both=True)}"
        )

    def _bridge(self) -> str:
        """Two halves that share one node."""
        order = self._draw.sample(range(len(self._cluster.machines)), len(self._cluster.machines))
        middle, rest = order[0], order[1:]
        left, right = rest[: len(rest) // 2], rest[len(rest) // 2 :]
        return f"by way of {middle}, {self._cut([(a, b) for a in left for b in right], both=True)}"

    def _loss(self) -> str:
        return self._weather(loss=0.3)

    def _delay(self) -> str:
        return self._weather(delay=0.2, jitter=0.05)

    def _weather(self, **rules: float) -> str:
        seconds = self._draw.uniform(4, 10)
        self._cluster.wires(**rules)
        time.sleep(seconds)
        self._cluster.wires()
        return f"{rules}, {seconds:.1f} s"

    def _cut(self, directions: list[tuple[int, int]], *, both: bool = False) -> str:
        seconds = self._draw.uniform(2, 10)
        self._cluster.wires(cut=directions + ([(b, a) for a, b in directions] if both else []))
        time.sleep(seconds)
        self._cluster.wires()
        return f"{seconds:.1f} s"

    def _others(self, machine: Machine) -> list[int]:
        return [other.index for other in self._cluster.machines if other is not machine]
