"""Judges the simulator: planted bugs, a world that must fork, and a canary that must always fail."""

# Patches take the arguments of what they replace.
# ruff: noqa: ARG005

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import count

from tests.simulation.abstract import AbstractLedger
from tests.simulation.plan import Plan, plan_of
from tests.simulation.planted import Bug, patch
from tests.simulation.planted_consensus import CONSENSUS_BUGS
from tests.simulation.planted_ledger import LEDGER_BUGS
from tests.simulation.play import play, world_of

FIRST_SEED = 1_000_000
"""Far from those of campaigns: what is tuned on one is judged on the other."""


@contextmanager
def _no_patch() -> Iterator[None]:
    yield


CONTROL = Bug(
    "control", "two of four are two-faced: no protocol stands that, so the run must fork", _no_patch,
    habits=("two_faced", "two_faced"), sizes=(4,),
)  # fmt: skip

CANARY = Bug(
    "canary", "a node tells of a final block that nobody else has: every seed must fail",
    patch((AbstractLedger, "digest_at", lambda self, height: id(self).to_bytes(32, "big"))),
)  # fmt: skip

BUGS = {bug.name: bug for bug in (*CONSENSUS_BUGS, *LEDGER_BUGS)}
"""By name. The control and the canary are judged beside them, always."""

_FORKS = ("forks at height", "conflicts", "has both", "contradict")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a hunt came to."""

    bug: Bug
    found: str
    """What the first failing seed said; empty if none failed."""
    seeds: int
    cpu_seconds: float

    @property
    def told(self) -> str:
        outcome = f"found by seed {self.seeds}" if self.found else f"NOT FOUND in {self.seeds} seeds"
        return f"{self.bug.name:<28} {outcome:<22} {self.cpu_seconds:7.1f} CPU s  {self.found[:110]}"


def hunt(bug: Bug, *, cpu_minutes: float, seeds: int | None = None) -> Verdict:
    """Play seeds with a bug planted until one fails, or the time is over, or there are no more."""
    began, played = time.process_time(), 0
    for seed in count(FIRST_SEED) if seeds is None else range(FIRST_SEED, FIRST_SEED + seeds):
        played += 1
        found = _what_fails(bug, plan_for(bug, seed))
        spent = time.process_time() - began
        if found or spent > 60 * cpu_minutes:
            return Verdict(bug, found, played, spent)
    return Verdict(bug, "", played, time.process_time() - began)


def plan_for(bug: Bug, seed: int) -> Plan:
    """The plan of a seed, with as much pinned as the bug pins."""
    plan = plan_of(seed, count=bug.sizes[seed % len(bug.sizes)], profile=bug.profile)
    if bug is CONTROL:
        return replace(plan, habits=bug.habits or (), is_control=True, committees="whole")
    if bug.habits is not None:
        return replace(plan, habits=(bug.habits * plan.count)[: (plan.count - 1) // 3])
    return plan


def _what_fails(bug: Bug, plan: Plan) -> str:
    with bug.planted():
        try:
            play(world_of(plan))
        except Exception as error:  # noqa: BLE001 - a bug may show itself in any way
            return f"{type(error).__name__}: {error}"
    return ""


def judge(names: list[str], *, cpu_minutes: float) -> int:
    """Hunt bugs by name, or all of them with control and canary; 0 if every one was found."""
    unknown = [name for name in names if name not in BUGS]
    if unknown:
        print(f"no such bug: {', '.join(unknown)}; there are {', '.join(BUGS)}")
        return 2
    missed = []
    for bug in [BUGS[name] for name in names] or [CANARY, CONTROL, *BUGS.values()]:
        verdict = hunt(bug, cpu_minutes=cpu_minutes)
        print(verdict.told, flush=True)
        if not is_right(verdict):
            missed.append(bug.name)
    print(f"{len(missed)} not found: {', '.join(missed)}" if missed else "all found")
    return 1 if missed else 0


def is_right(verdict: Verdict) -> bool:
    """Whether a hunt ended as it must: the canary at once, the control in a fork, the others anyhow."""
    if verdict.bug is CANARY:
        return bool(verdict.found) and verdict.seeds == 1
    if verdict.bug is CONTROL:
        return any(word in verdict.found for word in _FORKS)
    return bool(verdict.found)
