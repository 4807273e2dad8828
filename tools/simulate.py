"""The simulator of a checkout: `python -m tools.simulate --help`, and `tests/simulation/README.md`.

The machinery is part of the tests, which no installed package carries.
"""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main(arguments: Sequence[str]) -> int:
    """Run the simulator with these arguments and return its exit status."""
    if not (ROOT / "tests" / "simulation").is_dir():
        print("The simulator is part of the repository: run this from a checkout.", file=sys.stderr)
        return 2
    return subprocess.call([sys.executable, "-m", "tests.simulation", *arguments], cwd=ROOT)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
