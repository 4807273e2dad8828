"""The fuzzing campaign: `python -m tests.fuzz --executions 10000000`.

Each target runs under libFuzzer in a process of its own, steered by the coverage of our packages. A run fails
if an input raises what its decoder does not name, takes over eight times its length in memory, takes five
seconds, or if fewer executions were made than asked for. With `--canary` each target carries a planted bug,
and the run fails if that is *not* found.
"""

import argparse
import json
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.fuzz.memory import TIMES, dearest
from tests.fuzz.targets import TARGETS

CANARY_EXECUTIONS = 2_000_000
"""Within which a planted bug must be found."""

_DONE = re.compile(r"stat::number_of_executed_units:\s+(\d+)")


@dataclass(frozen=True, slots=True)
class Report:
    """How one target fared."""

    target: str
    executions: int
    seconds: int
    found: bool
    memory_times: float
    verdict: str


def fuzz(name: str, *, executions: int, planted: bool, folder: Path) -> Report:
    """Run one target to its end."""
    label = f"canary-{name}" if planted else name
    home = folder / label
    home.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    command = [sys.executable, "-m", "tests.fuzz.drive", label, str(executions), str(home)]
    with (home / "log").open("w") as log:
        code = subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, check=False).returncode
    said = (home / "log").read_text(errors="replace")
    done = _DONE.search(said)
    made = int(done[1]) if done else 0
    found = code != 0
    times = 0.0 if planted else memory_of(name, home)
    verdict = _verdict(found=found, planted=planted, short=made < executions, times=times, log=home / "log")
    return Report(label, made, round(time.monotonic() - began), found, round(times, 2), verdict)


def memory_of(name: str, home: Path) -> float:
    """The highest ratio of memory to input over the corpus that a run has gathered."""
    inputs = (path.read_bytes() for path in sorted((home / "corpus").iterdir()))
    return dearest(TARGETS[name].attempt, inputs)[0]


def _verdict(*, found: bool, planted: bool, short: bool, times: float, log: Path) -> str:
    if planted:
        return "ok: the planted bug was found" if found and _names_canary(log) else f"BLIND: see {log}"
    if found:
        return f"FOUND: see {log}"
    if times > TIMES:
        return f"MEMORY: {times:.1f} times the input"
    return "SHORT: fewer executions than asked for" if short else "ok"


def _names_canary(log: Path) -> bool:
    return "tests.fuzz.canary.Canary" in log.read_text(errors="replace") or "Canary:" in log.read_text()


def main(arguments: Sequence[str]) -> int:
    """Run the campaign; 0 if all is well."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", help=f"all unless named: {', '.join(TARGETS)}")
    parser.add_argument("--executions", type=int, default=100_000, help="of each target (100,000)")
    parser.add_argument("--canary", action="store_true", help="plant a bug in each, and expect it found")
    parser.add_argument("--jobs", type=int, default=1, help="targets at once (1)")
    parser.add_argument("--folder", type=Path, default=Path(".fuzz"), help="corpora, logs, findings (.fuzz)")
    parser.add_argument("--json", action="store_true", help="reports as JSON lines")
    options = parser.parse_args(arguments)
    names = options.targets or list(TARGETS)
    unknown = [name for name in names if name not in TARGETS]
    if unknown:
        parser.error(f"no target {unknown[0]!r}; there are {', '.join(TARGETS)}")

    def one(name: str) -> Report:
        wanted = CANARY_EXECUTIONS if options.canary else options.executions
        report = fuzz(name, executions=wanted, planted=options.canary, folder=options.folder)
        line = json.dumps(asdict(report)) if options.json else (
            f"{report.target:24} {report.executions:>12,} executions {report.seconds:>6} s  "
            f"memory {report.memory_times:4.1f} x  {report.verdict}"
        )  # fmt: skip
        print(line, flush=True)
        return report

    with ThreadPoolExecutor(options.jobs) as pool:
        reports = list(pool.map(one, names))
    return 0 if all(report.verdict.startswith("ok") for report in reports) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
