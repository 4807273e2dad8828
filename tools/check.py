"""Every check of the repository, in the order in which they are cheapest to fail.

`python3 tools/bootstrap.py test` runs this file in the environment it made, and so does CI. Given arguments,
it runs pytest alone and passes them on: `python3 tools/bootstrap.py test tests/chain -k transfer`.
"""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROGRAMS = Path(sys.executable).parent


@dataclass(frozen=True, slots=True)
class Check:
    """One command that must succeed."""

    name: str
    command: tuple[str, ...]
    """Program of the environment, with its arguments."""


CHECKS = (
    Check("style", ("ruff", "check")),
    Check("layout", ("ruff", "format", "--check")),
    Check("floors", ("lint-imports", "--no-logo")),
    Check("types", ("mypy",)),
    Check("tests", ("pytest", "--durations=10")),
)


def main(arguments: Sequence[str]) -> int:
    """Run all checks, or pytest alone when it is given arguments, and return the exit status."""
    if arguments:
        return run(Check("tests", ("pytest", *arguments)))
    outcomes = []
    for check in CHECKS:
        say(f"\n--- {check.name}: {' '.join(check.command)}")
        started = time.monotonic()
        status = run(check)
        outcomes.append((check, status, time.monotonic() - started))
    say("\n--- summary")
    for check, status, seconds in outcomes:
        verdict = "ok" if status == 0 else f"FAILED, exit status {status}"
        say(f"  {check.name:<8}{seconds:7.1f} s  {verdict}")
    failed = [check.name for check, status, _ in outcomes if status != 0]
    say(f"  Not good yet: {', '.join(failed)}." if failed else "  All checks passed.")
    return 1 if failed else 0


def run(check: Check) -> int:
    """Run one check in the checkout with its output shown as it comes, and return its exit status."""
    environment = {**os.environ, "PATH": f"{PROGRAMS}{os.pathsep}{os.environ.get('PATH', '')}"}
    program, *rest = check.command
    return subprocess.call([str(PROGRAMS / program), *rest], cwd=ROOT, env=environment)


def say(line: str) -> None:
    """Print a line before the next command's output, also into a pipe."""
    print(line, flush=True)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
