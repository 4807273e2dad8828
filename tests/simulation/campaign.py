"""Many seeds, one after the other or in several processes, and what they showed together.

A campaign fails if any seed fails, and also if it does less than it was asked for: a run that was cut short
has shown nothing of what it left out.
"""

import gc
import json
import subprocess
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tests.simulation.plan import Plan, plan_of
from tests.simulation.play import Result, play, world_of
from tests.simulation.watch import Violation

ROOT = Path(__file__).resolve().parents[2]
_CHUNK = 4
_TOLD_EVERY_SECONDS = 30.0

_COLLECTED_EVERY = (1_000_000, 20, 20)
"""A world makes few cycles and many objects that live long: the collector's own pace costs a twentieth."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A seed that did not hold, with all that repeats it."""

    seed: int
    count: int
    profile: str
    habits: tuple[str, ...]
    what: str
    detail: str
    """Traceback, for what is not a violation but a mistake."""

    def told(self) -> str:
        return (
            f"FAILED seed {self.seed} at commit {commit_id()}: {self.what}\n"
            f"  traitors: {self.habits or 'none'}\n"
            f"  again: python -m tools.simulate --replay {self.seed} --nodes {self.count} "
            f"--profile {self.profile}\n{self.detail}"
        )


@dataclass(frozen=True, slots=True)
class Order:
    """What a campaign was asked to do."""

    seeds: range
    sizes: tuple[int, ...]
    profiles: tuple[str, ...]
    """One in three worlds has a ledger if both are asked for."""
    hours: float = 0.0
    """Simulated hours that must come together; 0 for whatever the seeds bring."""
    cpu_minutes: float = 0.0
    """Stop after so much of this machine's time; 0 for never. Stopping early fails the run."""

    def plan(self, seed: int) -> Plan:
        count = self.sizes[seed % len(self.sizes)]
        turn = seed // len(self.sizes)
        profile = "ledger" if self.profiles == ("ledger",) or turn % 3 == 0 else "consensus"
        return plan_of(seed, count=count, profile=profile if profile in self.profiles else self.profiles[0])


@dataclass
class Summary:
    """All seeds together."""

    order: Order
    seeds: int = 0
    simulated_ms: int = 0
    cpu_seconds: float = 0.0
    steps: int = 0
    heights: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    ledger: Counter[str] = field(default_factory=Counter)
    habits: Counter[str] = field(default_factory=Counter)
    speeds: dict[str, list[float]] = field(default_factory=dict)
    """Simulated and CPU seconds, by profile and number of nodes."""
    recoveries_ms: list[int] = field(default_factory=list)
    convicted_after: list[int] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)

    def add(self, result: Result, cpu: float) -> None:
        self.seeds += 1
        self.simulated_ms += result.simulated_ms
        self.cpu_seconds += cpu
        self.steps += result.steps
        self.heights += result.heights
        self.faults.update(result.faults)
        self.ledger.update(result.ledger)
        self.habits.update(result.habits or ("none",))
        self.recoveries_ms += result.recoveries_ms
        self.convicted_after += result.convicted_after
        speed = self.speeds.setdefault(f"{result.profile} N={result.count}", [0.0, 0.0])
        speed[0] += result.simulated_ms / 1000
        speed[1] += cpu

    @property
    def shortfall(self) -> str:
        """What was asked for and not done."""
        if self.seeds + len(self.failures) < len(self.order.seeds):
            return f"{self.seeds + len(self.failures)} of {len(self.order.seeds)} seeds"
        hours = self.simulated_ms / 3_600_000
        if hours < self.order.hours:
            return f"{hours:.1f} of {self.order.hours} simulated hours"
        return ""

    @property
    def is_good(self) -> bool:
        return not self.failures and not self.shortfall

    def as_json(self) -> str:
        ordered = sorted(self.recoveries_ms) or [0]
        return json.dumps(
            {
                "commit": commit_id(), "seeds": self.seeds, "violations": len(self.failures),
                "shortfall": self.shortfall, "simulated_hours": self.simulated_ms / 3_600_000,
                "cpu_seconds": self.cpu_seconds, "steps": self.steps, "heights": self.heights,
                "faults": dict(self.faults), "ledger": dict(self.ledger), "traitors": dict(self.habits),
                "speeds": {name: a / b for name, (a, b) in self.speeds.items()},
                "recovery_ms": {
                    "p50": at(ordered, 0.5), "p99": at(ordered, 0.99), "max": ordered[-1], "n": len(ordered)
                }, "convicted_after": {"n": len(self.convicted_after), "max": max(self.convicted_after,
                default=0)}, "failures": [asdict(failure) for failure in self.failures],
            }
        )  # fmt: skip

    def told(self) -> str:
        ordered = sorted(self.recoveries_ms) or [0]
        cpu = max(self.cpu_seconds, 1e-9)
        named = ", ".join(f"{name} {count}" for name, count in sorted(self.faults.items()))
        ledger = ", ".join(f"{name} {count}" for name, count in sorted(self.ledger.items()))
        ways = ", ".join(f"{name} {count}" for name, count in sorted(self.habits.items()))
        speeds = "; ".join(f"{name} {a / b:.0f}" for name, (a, b) in sorted(self.speeds.items()) if b)
        lines = [
            (f"{self.seeds} seeds, {self.simulated_ms / 3_600_000:.2f} simulated hours, "
            f"{self.heights} heights, {len(self.failures)} violations"),
            (f"{self.simulated_ms / 1000 / cpu:.0f} simulated s and {self.steps / cpu:.0f} events per CPU s "
            f"({speeds})"),
            f"faults {sum(self.faults.values())}: {named}",
            f"traitors: {ways}",
            f"ledger: {ledger or 'none'}",
            (f"recovery after healing: p50 {at(ordered, 0.5) / 1000:.2f} s, "
            f"p99 {at(ordered, 0.99) / 1000:.2f} s, max {ordered[-1] / 1000:.2f} s, "
            f"{len(self.recoveries_ms)} times"),
            (f"convictions: {len(self.convicted_after)}, at most "
            f"{max(self.convicted_after, default=0)} heights after the contradiction"),
        ]  # fmt: skip
        if self.shortfall:
            lines.append(f"NOT DONE: {self.shortfall}; a run that does less than its budget fails")
        return "\n".join(lines)


def run_campaign(order: Order, *, jobs: int = 1) -> Summary:
    """Play all seeds; failures are told as they come."""
    summary, last = Summary(order), time.monotonic()
    for result, cpu, failure in _played(order, jobs):
        if failure is not None:
            summary.failures.append(failure)
            print(failure.told(), flush=True)
        if result is not None:
            summary.add(result, cpu)
        if time.monotonic() - last >= _TOLD_EVERY_SECONDS:
            last = time.monotonic()
            _tell(summary)
        if order.cpu_minutes and summary.cpu_seconds >= 60 * order.cpu_minutes:
            break
    return summary


Played = tuple[Result | None, float, Failure | None]


def _played(order: Order, jobs: int) -> Iterator[Played]:
    if jobs == 1:
        with _rare_collections():
            for seed in order.seeds:
                yield play_seed(order.plan(seed))
        return
    with ProcessPoolExecutor(jobs, initializer=_collect_rarely) as pool:
        yield from pool.map(play_seed, map(order.plan, order.seeds), chunksize=_CHUNK)


def _collect_rarely() -> None:
    """What is here before a world begins stays for good, and is not looked at again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_COLLECTED_EVERY)


@contextmanager
def _rare_collections() -> Iterator[None]:
    before = gc.get_threshold()
    _collect_rarely()
    try:
        yield
    finally:
        gc.unfreeze()
        gc.set_threshold(*before)


def play_seed(plan: Plan) -> Played:
    """One seed, what it cost, and what was wrong with it."""
    began = time.process_time()
    try:
        result = play(world_of(plan))
    except AssertionError as error:
        # A violation says all there is to say; an assertion of the production code needs its trace.
        detail = "" if isinstance(error, Violation) else traceback.format_exc()
        return None, 0.0, _failure(plan, str(error) or "assertion", detail)
    except Exception as error:  # noqa: BLE001 - whatever the code under test does wrong is a finding
        return None, 0.0, _failure(plan, f"{type(error).__name__}: {error}", traceback.format_exc())
    return result, time.process_time() - began, None


def _failure(plan: Plan, what: str, detail: str) -> Failure:
    return Failure(plan.seed, plan.count, plan.profile, plan.habits, what, detail)


def commit_id() -> str:
    """Short id of the commit that runs, with a mark if the checkout differs from it."""
    told = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return told.stdout.strip() or "unknown"


def at(ordered: Sequence[int], share: float) -> int:
    """The value below which that share of an ascending sequence lies."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def _tell(summary: Summary) -> None:
    hours, cpu = summary.simulated_ms / 3_600_000, max(summary.cpu_seconds, 1e-9)
    print(
        f"{summary.seeds}/{len(summary.order.seeds)} seeds, {hours:.2f} h simulated, "
        f"{3600 * hours / cpu:.0f} s per CPU s, {sum(summary.faults.values())} faults, "
        f"{len(summary.failures)} violations",
        file=sys.stderr, flush=True,
    )  # fmt: skip
