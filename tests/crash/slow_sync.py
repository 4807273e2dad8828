"""Makes a validator's disk slow: `python -m tests.crash --slow-sync --cycles 20`.

Cycle after cycle one of four validators runs with every sync late by 50 to 2,000 ms, drawn anew for each. The
others must keep their pace, the slow one must answer over RPC while its syncs hang, say in status and log how
slow its disk is, and contradict nothing that it signed.
"""

import json
import random
import re
import signal
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Final

from tests.crash.armed import Order
from tests.crash.victim import next_victim, recover
from tests.network.cluster import Cluster, running_cluster
from tests.network.machine import Machine, eventually
from tests.tools.testnet.live import contradictions

START_S: Final = 120.0
SLOW: Final = (0.05, 2.0)
AGAIN_S: Final = 60.0
"""In which it is at the head again once its disk is well."""
WINDOW_S: Final = 8.0
"""How long each cycle looks at the pace."""
ANSWER_S: Final = 1.0
"""In which the slow node answers, but for one time in twenty: the machine itself may be busy."""
NOISE: Final = 1.5
"""The others' median pace may be worse by so much; a leader less changes the mean alone."""
LOOK_S: Final = 0.1

_FINAL: Final = re.compile(r"^(\S+ \S+) INFO \S+ event=finalized height=(\d+)", re.MULTILINE)


@dataclass
class Tally:
    """What the cycles have seen."""

    baseline: list[float] = field(default_factory=list)
    """Seconds between two final heights with all disks well."""
    pace: list[float] = field(default_factory=list)
    """The same, on the others, beside a slow one."""
    answers: list[float] = field(default_factory=list)
    """Seconds of each answer of the slow one."""
    healthy_answers: list[float] = field(default_factory=list)
    heights: int = 0
    """That became final on slow nodes while they were slow."""


def slow_sync(scratch: Path, *, cycles: int, seed: int) -> str:
    """Run the campaign; what it saw, in a line.

    Raises:
        AssertionError: The others lost their pace, or the slow one did not answer, said nothing, or lied.
    """
    draw, tally = random.Random(seed), Tally()
    with running_cluster(scratch / "net", nodes=4, seed=seed) as cluster:
        eventually(cluster.heights, lambda heights: min(heights) >= 10, within=START_S, what="ten blocks")
        tally.healthy_answers += _asked(cluster.machines[0], WINDOW_S)
        for machine in cluster.machines:
            tally.baseline += paces(machine, WINDOW_S)
        print(json.dumps({"baseline_s": _middle(tally.baseline)}), flush=True)
        for cycle in range(1, cycles + 1):
            line = _cycle(cluster, draw, tally)
            print(json.dumps({"cycle": cycle} | line), flush=True)
    middle, slow = _middle(tally.baseline), _middle(tally.pace)
    assert slow <= NOISE * middle, (
        f"the others' pace was {slow:.2f} s a height, {middle:.2f} s with all disks well"
    )
    late = sum(answer > ANSWER_S for answer in tally.answers)
    return (
        f"{cycles} cycles, {tally.heights} heights final on slow nodes, 0 contradictions; pace of the others "
        f"{slow:.2f} s a height (median; {middle:.2f} s with all disks well); the slow one answered "
        f"{len(tally.answers)} times in {1000 * _middle(tally.answers):.0f} ms (median), "
        f"{1000 * _top(tally.answers):.0f} ms (99 %), {late} times later than {ANSWER_S:.0f} s; healthy: "
        f"{1000 * _middle(tally.healthy_answers):.0f} ms, {1000 * _top(tally.healthy_answers):.0f} ms"
    )


def _cycle(cluster: Cluster, draw: random.Random, tally: Tally) -> dict[str, object]:
    victim = next_victim(cluster, draw, {})
    machine = victim.machine
    said = machine.log.stat().st_size
    before = machine.last_signed()
    machine.disguise = ("tests.crash.armed", Order(slow=SLOW).text())
    machine.start()
    eventually(
        lambda: machine.last_signed(), lambda now: now > before, within=START_S, what="a slow signature"
    )
    low = machine.height()
    answers = _asked(machine, WINDOW_S)
    gained = machine.height() - low
    status = machine.status()
    assert status is not None and "slow disk: " in status.disk, status
    assert b"disk slow sync_ms=" in machine.log.read_bytes()[said:], "nothing in the log"
    late = sum(answer > ANSWER_S for answer in answers)
    assert late <= len(answers) // 20, (
        f"{machine.name}: {late} of {len(answers)} answers later than {ANSWER_S} s"
    )
    pace = [gap for other in cluster.machines if other is not machine for gap in paces(other, WINDOW_S)]
    behind = max(cluster.heights()) - low - gained
    machine.signal(signal.SIGTERM)
    assert not contradictions(machine.signed()), machine.name
    back = recover(cluster, victim, within=AGAIN_S)
    tally.answers += answers
    tally.pace += pace
    tally.heights += gained
    return {
        "victim": machine.name, "others_s": _middle(pace), "answers": len(answers), "late": late,
        "longest_answer_s": round(max(answers), 2), "heights": gained, "behind": behind,
        "back_s": round(back, 1), "says": status.disk,
    }  # fmt: skip


def _asked(machine: Machine, seconds: float) -> list[float]:
    """Seconds of each answer of a node that is asked again and again."""
    answers, end = [], time.monotonic() + seconds
    while time.monotonic() < end:
        began = time.monotonic()
        machine.status()
        answers.append(time.monotonic() - began)
        time.sleep(LOOK_S)
    return answers


def paces(machine: Machine, seconds: float) -> list[float]:
    """Seconds between heights that became final within the last so many, by the node's own log."""
    found = _FINAL.findall(machine.log.read_text(encoding="utf-8", errors="replace"))
    times = [datetime.strptime(when, "%Y-%m-%d %H:%M:%S,%f").timestamp() for when, _ in found]
    newest = [at for at in times if at >= time.time() - seconds - 1]
    return [late - early for early, late in pairwise(newest)]


def _middle(values: Sequence[float]) -> float:
    return round(statistics.median(values), 3)


def _top(values: Sequence[float]) -> float:
    return sorted(values)[len(values) * 99 // 100]
