"""The same bits everywhere: `python -m tests.pouw.bit_equality --short`.

Every environment is a process of its own, because instruction sets are chosen when libraries load. Each runs
drawn ops, inference (prefill, decoding, batches) and training, and prints the roots that it would publish.
Environments that this machine cannot offer are named and left out.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib.util import find_spec
from typing import Any

from pouw.backends.select import present_devices
from tests.pouw.bit_runs import Request

FULL = Request(
    "cpu", 1, "never", torch_first=False, examples=100, steps=100, text_steps=100, texts=8, tokens=7
)
SHORT = replace(FULL, examples=15, steps=4, text_steps=2)
INTERPRETED = {"examples": 12, "text_steps": 1, "texts": 2, "tokens": 3}
"""The interpreter takes a hundred times as long."""

ALIKE = ("batch", "one by one", "prefill of all")
"""Ways to the same answers."""


@dataclass(frozen=True)
class Environment:
    """One way to run."""

    label: str
    request: Request
    variables: dict[str, str] = field(default_factory=dict)
    fallback: bool | None = False
    """Its int8 products are wrong, which the known-answer test must find; None if the processor decides."""


@dataclass(frozen=True)
class Outcome:
    """What it came to."""

    name: str
    loops: str
    roots: dict[str, str]
    seconds: float


def environments(base: Request, *, short: bool) -> Iterator[Environment]:
    """All that this machine has."""
    yield Environment("reference", replace(base, backend="reference"))
    compiled = find_spec("numba") is not None
    for threads in (1, 2):
        yield Environment(f"cpu, {threads} threads, torch alone", replace(base, threads=threads))
        if compiled:
            yield Environment(
                f"cpu, {threads} threads, compiled loops", replace(base, threads=threads, loops="now")
            )
    loops = "now" if compiled else "never"
    capped = replace(base, torch_first=True, threads=2, loops=loops)
    levels = ("AVX2",) if short else ("SSE41", "AVX2", "AVX2_VNNI", "AVX512_CORE", "AVX512_CORE_VNNI")
    for level in levels:
        yield Environment(
            f"cpu, ONEDNN_MAX_CPU_ISA={level} from the start",
            capped,
            {"ONEDNN_MAX_CPU_ISA": level},
            # Many a processor has these instructions in 512 bits alone; then this level is plain AVX2.
            fallback=None if level == "AVX2_VNNI" else "VNNI" not in level,
        )
    if not short:
        for level in ("default", "avx2", "avx512"):
            yield Environment(
                f"cpu, ATEN_CPU_CAPABILITY={level}", replace(capped, torch_first=False),
                {"ATEN_CPU_CAPABILITY": level},
            )  # fmt: skip
        if find_spec("triton") is not None:
            slow = replace(base, backend="interpreter", **INTERPRETED)
            yield Environment("the GPU's kernels, interpreted", slow, {"TRITON_INTERPRET": "1"})
    for device in present_devices():
        if device.startswith("cuda"):
            yield Environment(device, replace(base, backend=device))


def run(environment: Environment) -> Outcome:
    """Run one environment in a process of its own."""
    begun = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "tests.pouw.bit_runs", json.dumps(asdict(environment.request))],
        env={**os.environ, **environment.variables},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{environment.label}: {done.stderr}")
    document: dict[str, Any] = json.loads(done.stdout)
    return Outcome(seconds=time.monotonic() - begun, **document)


def differences(environment: Environment, outcome: Outcome, expected: dict[str, str]) -> list[str]:
    """What is not as it must be; adds to what is expected whatever is seen for the first time."""
    found = [
        f"{work}: {root}, expected {expected[work]}"
        for work, root in outcome.roots.items()
        if expected.setdefault(work, root) != root
    ]
    for how in ("greedy", "drawn"):
        same = {work: root for work, root in outcome.roots.items() if work.endswith(f", {how}")}
        if len(same) != len(ALIKE) or len(set(same.values())) != 1:
            found.append(f"not the same: {', '.join(same)}")
    wanted, is_slow = environment.fallback, "chunks" in outcome.name
    if environment.request.backend == "cpu" and wanted is not None and wanted is not is_slow:
        found.append(f"products by {outcome.name}, where int8 ones are {'wrong' if wanted else 'right'}")
    return found


def check(*, short: bool) -> Iterator[tuple[Environment, Outcome, list[str]]]:
    """Run all environments."""
    expected: dict[str, str] = {}
    base = SHORT if short else FULL
    if not short:
        # What the interpreter has no time for in full is expected from the reference in small.
        small = replace(base, backend="reference", **INTERPRETED)
        differences(Environment("reference", small), run(Environment("reference", small)), expected)
    for environment in environments(base, short=short):
        outcome = run(environment)
        yield environment, outcome, differences(environment, outcome, expected)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a line for each environment; 1 if any differs."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.pouw.bit_equality", description=__doc__,
        epilog="Example: python -m tests.pouw.bit_equality --short --json",
    )  # fmt: skip
    parser.add_argument("--short", action="store_true", help="fewer environments, each with less to do")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    options = parser.parse_args(arguments)
    document = []
    for environment, outcome, found in check(short=options.short):
        document.append({"environment": environment.label, "differences": found, **asdict(outcome)})
        verdict = "same roots" if not found else "; ".join(found)
        who = f"{outcome.name}, loops: {outcome.loops}; {outcome.seconds:.0f} s"
        if not options.json:
            print(f"{environment.label}: {verdict} [{who}]", flush=True)
    if options.json:
        print(json.dumps(document))
    return int(any(entry["differences"] for entry in document))


if __name__ == "__main__":
    sys.exit(main())
