"""A command of ours by a clock that is wrong: `python -m tests.network.skewed SECONDS COMMAND ...`."""

import sys
import time


def main() -> None:
    """Shift the wall clock, and become the command."""
    shift = int(float(sys.argv.pop(1)) * 1e9)
    right = time.time_ns
    time.time_ns = lambda: right() + shift
    time.time = lambda: (right() + shift) / 1e9
    from tools.cli.main import main as headrace

    sys.argv[0] = "headrace"
    headrace()


if __name__ == "__main__":
    main()
