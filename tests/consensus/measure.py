"""What the chapter's figures are made of: `python -m tests.consensus.measure`.

Simulated worlds of three sizes, and four engines with real signatures over the in-memory network.
"""

import argparse
import json
import time
from collections.abc import Sequence
from functools import partial

import trio
from trio.testing import MockClock

from tests.consensus.cluster import open_cluster
from tests.consensus.nemesis import END_MS, play, world_of

WORLDS = ((4, 0), (4, 1), (7, 2))
"""Validators, and two-faced ones among them."""


def simulate(count: int, traitors: int, seeds: int) -> dict[str, float]:
    """Simulated seconds and events per CPU second, over random worlds."""
    began = time.process_time()
    events = 0
    for seed in range(seeds):
        events += play(world_of(seed, count, traitors=traitors)).events
    spent = time.process_time() - began
    return {"seconds": seeds * END_MS / 1000 / spent, "events": events / spent}


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
    """Print a line for each world, and one for the engines."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.consensus.measure", description=__doc__,
        epilog="Example: python -m tests.consensus.measure 3 --seconds 20",
    )  # fmt: skip
    parser.add_argument("seeds", type=int, nargs="?", default=10, help="worlds of each size (10)")
    parser.add_argument("--seconds", type=int, default=60, help="of the engines' own clock (60)")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    options = parser.parse_args(arguments)
    if options.seeds < 1 or options.seconds < 1:
        parser.error(f"at least 1 seed and 1 second, not {options.seeds} and {options.seconds}")
    worlds = []
    for count, traitors in WORLDS:
        rates = simulate(count, traitors, options.seeds)
        worlds.append({"validators": count, "two_faced": traitors, **rates})
        if not options.json:
            print(
                f"{count} validators, {traitors} two-faced, {options.seeds} seeds of {END_MS // 1000} s: "
                f"{rates['seconds']:.0f} simulated s and {rates['events']:.0f} events per CPU s",
                flush=True,
            )
    shell = trio.run(partial(run_shell, options.seconds), clock=MockClock(autojump_threshold=0))
    if options.json:
        print(json.dumps({"per_cpu_second": worlds, "four_engines": shell}))
        return
    print(
        f"4 engines: {shell['heights']} heights in {options.seconds} s, "
        f"{shell['ms']:.1f} ms of CPU per height and node"
    )


if __name__ == "__main__":
    main()
