"""Prints what the chapter's figures are made of: `python -m tests.consensus.measure [SEEDS]`."""

import sys
import time

import trio
from trio.testing import MockClock

from tests.consensus.cluster import open_cluster
from tests.consensus.nemesis import END_MS, play, world_of


def simulate(count: int, traitors: int, seeds: int) -> None:
    """Simulated seconds per CPU second, over random worlds."""
    began = time.process_time()
    events = 0
    for seed in range(seeds):
        events += play(world_of(seed, count, traitors=traitors)).events
    spent = time.process_time() - began
    print(
        f"{count} validators, {traitors} two-faced, {seeds} seeds of {END_MS // 1000} s: "
        f"{seeds * END_MS / 1000 / spent:.0f} simulated s and {events / spent:.0f} events per CPU s"
    )


async def run_shell(seconds: int) -> None:
    """CPU per height and node of four engines with real signatures over the in-memory network."""
    async with open_cluster() as cluster:
        cluster.start()
        await trio.sleep(5)
        began, height = time.process_time(), min(cluster.heights())
        await trio.sleep(seconds)
        heights = min(cluster.heights()) - height
        spent = time.process_time() - began
    each = 1000 * spent / heights / 4
    print(f"4 engines: {heights} heights in {seconds} s, {each:.1f} ms of CPU per height and node")


if __name__ == "__main__":
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    for world in ((4, 0), (4, 1), (7, 2)):
        simulate(*world, number)
    trio.run(run_shell, 60, clock=MockClock(autojump_threshold=0))
