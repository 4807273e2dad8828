"""The fuzzing campaign: `python -m tests.fuzz --executions 10000000`.

Each target has processes of its own: a tenth of its executions under libFuzzer, steered by the coverage of
our packages (`guided.py`), then the others from the corpus that this gathered, at the decoder's own speed
(`fast.py`). A run fails if an input raises what its decoder does not name, takes over eight times its length
in memory, takes five seconds, or if fewer executions were made than asked for. With `--canary` each target
carries a planted bug, and the run fails if that is *not* found.
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

GUIDED_OF = 10
"""One of so many executions is steered by coverage, if nobody says how many: new branches end before."""

_GUIDED_DONE = re.compile(r"stat::number_of_executed_units:\s+(\d+)")
_FAST_DONE = re.compile(r"^(\d+) executions, (\d+) inputs were refused by a new line$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Report:
    """How one target fared.

    Args:
        target: its name, after `canary-` if a bug was planted.
        executions: all that were made.
        guided: those of them that were steered by coverage.
        lines: inputs that the others, made after them, still got refused by a line that none had taken.
        seconds: of wall time.
        found: whether an input was found that the decoder does not survive.
        memory_times: highest ratio of memory to input over the corpus.
        verdict: begins with `ok` if all is well.
    """

    target: str
    executions: int
    guided: int
    lines: int
    seconds: int
    found: bool
    memory_times: float
    verdict: str


def fuzz(name: str, *, executions: int, guided: int, folder: Path) -> Report:
    """Run one target to its end."""
    home = folder / name
    home.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    found, said = _process("guided", name, guided, home)
    done = _GUIDED_DONE.search(said)
    made, lines = int(done[1]) if done else 0, 0
    rest = executions - made
    if not found and rest > 0:
        found, said = _process("fast", name, rest, home)
        finished = _FAST_DONE.search(said)
        rest, lines = (int(finished[1]), int(finished[2])) if finished else (0, 0)
    times = memory_of(name, home)
    all_made = made + max(0, rest)
    verdict = _verdict(found=found, short=all_made < executions, times=times, home=home)
    return Report(
        name, all_made, made, lines, round(time.monotonic() - began), found, round(times, 2), verdict
    )


def fuzz_canary(name: str, *, folder: Path) -> Report:
    """Run one target with a bug planted, which must be found."""
    label = f"canary-{name}"
    home = folder / label
    home.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    found, said = _process("guided", label, CANARY_EXECUTIONS, home)
    done = _GUIDED_DONE.search(said)
    made = int(done[1]) if done else 0
    seen = found and "tests.fuzz.canary.Canary" in said
    verdict = "ok: the planted bug was found" if seen else f"BLIND: see {home / 'guided.log'}"
    return Report(label, made, made, 0, round(time.monotonic() - began), found, 0.0, verdict)


def _process(kind: str, label: str, executions: int, home: Path) -> tuple[bool, str]:
    """Whether a target's process ended by finding something, and what it said."""
    log = home / f"{kind}.log"
    command = [sys.executable, "-m", f"tests.fuzz.{kind}", label, str(executions), str(home)]
    with log.open("w") as out:
        code = subprocess.run(command, stdout=out, stderr=subprocess.STDOUT, check=False).returncode
    return code != 0, log.read_text(errors="replace")


def memory_of(name: str, home: Path) -> float:
    """The highest ratio of memory to input over the corpus that a run has gathered."""
    inputs = (path.read_bytes() for path in sorted((home / "corpus").iterdir()))
    return dearest(TARGETS[name].attempt, inputs)[0]


def _verdict(*, found: bool, short: bool, times: float, home: Path) -> str:
    if found:
        return f"FOUND: see {home}/*.log"
    if times > TIMES:
        return f"MEMORY: {times:.1f} times the input"
    return "SHORT: fewer executions than asked for" if short else "ok"


def main(arguments: Sequence[str]) -> int:
    """Run the campaign; 0 if all is well."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", help=f"all unless named: {', '.join(TARGETS)}")
    parser.add_argument("--executions", type=int, default=100_000, help="of each target (100,000)")
    parser.add_argument("--guided", type=int, help="of them steered by coverage (a tenth)")
    parser.add_argument("--canary", action="store_true", help="plant a bug in each, and expect it found")
    parser.add_argument("--jobs", type=int, default=1, help="targets at once (1)")
    parser.add_argument("--folder", type=Path, default=Path(".fuzz"), help="corpora, logs, findings (.fuzz)")
    parser.add_argument("--json", action="store_true", help="reports as JSON lines")
    options = parser.parse_args(arguments)
    names = options.targets or list(TARGETS)
    unknown = [name for name in names if name not in TARGETS]
    if unknown:
        parser.error(f"no target {unknown[0]!r}; there are {', '.join(TARGETS)}")

    guided = options.executions // GUIDED_OF if options.guided is None else options.guided

    def one(name: str) -> Report:
        if options.canary:
            report = fuzz_canary(name, folder=options.folder)
        else:
            report = fuzz(name, executions=options.executions, guided=guided, folder=options.folder)
        line = json.dumps(asdict(report)) if options.json else (
            f"{report.target:24} {report.executions:>12,} executions ({report.guided:,} guided) "
            f"{report.seconds:>6} s  memory {report.memory_times:4.1f} x  {report.verdict}"
        )  # fmt: skip
        print(line, flush=True)
        return report

    with ThreadPoolExecutor(options.jobs) as pool:
        reports = list(pool.map(one, names))
    return 0 if all(report.verdict.startswith("ok") for report in reports) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
