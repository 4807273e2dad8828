"""What an engine costs: four of them, with real signatures, over the in-memory network.

How fast worlds are simulated is what `python -m tools.simulate` says at its end.
"""

import argparse
import json
import time
from collections.abc import Sequence
from functools import partial

import trio
from trio.testing import MockClock

from tests.consensus.cluster import open_cluster


async def run_shell(seconds: int) -> dict[str, float]:
    """Heights, and milliseconds of CPU per height and node."""
    async with open_cluster() as cluster:
        cluster.start()
        await trio.sleep(5)
        began, height = time.process_time(), min(cluster.heights())
        await trio.sleep(seconds)
        heights = min(cluster.heights()) - height
        spent = time.process_time() - began
    return {"heights": heights, "ms": 1000 * spent / heights / 4}


def main(arguments: Sequence[str] | None = None) -> None:
    """Print one line."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.consensus.measure", description=__doc__,
        epilog="Example: python -m tests.consensus.measure --seconds 20",
    )  # fmt: skip
    parser.add_argument("--seconds", type=int, default=60, help="of the engines' own clock (60)")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    options = parser.parse_args(arguments)
    if options.seconds < 1:
        parser.error(f"at least 1 second, not {options.seconds}")
    shell = trio.run(partial(run_shell, options.seconds), clock=MockClock(autojump_threshold=0))
    if options.json:
        print(json.dumps({"four_engines": shell}))
        return
    print(
        f"4 engines: {shell['heights']} heights in {options.seconds} s, "
        f"{shell['ms']:.1f} ms of CPU per height and node"
    )


if __name__ == "__main__":
    main()
