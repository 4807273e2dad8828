"""The same seed in two processes with different hash seeds: all that is said and decided must be the same."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.simulation.plan import plan_of
from tests.simulation.play import play, world_of

ROOT = Path(__file__).resolve().parents[2]
HASH_SEEDS = ("1", "2")


def traces_of(seeds: Sequence[int], hash_seed: str) -> list[str]:
    """A digest of each seed's whole history, from a process of its own."""
    told = subprocess.run(
        [sys.executable, "-m", "tests.simulation.determinism", *map(str, seeds)],
        env=os.environ | {"PYTHONHASHSEED": hash_seed}, cwd=ROOT, check=True, capture_output=True, text=True,
    )  # fmt: skip
    return told.stdout.split()


def compare(seeds: Sequence[int], *, chunk: int = 20) -> int:
    """Play every seed twice; 0 if no trace differs."""
    different: list[int] = []
    done = 0
    for start in range(0, len(seeds), chunk):
        part = list(seeds[start : start + chunk])
        first, second = (traces_of(part, hash_seed) for hash_seed in HASH_SEEDS)
        assert len(first) == len(second) == len(part), "a process told too little"
        different += [seed for seed, a, b in zip(part, first, second, strict=True) if a != b]
        done += len(part)
        print(f"{done - len(different)} of {done} seeds are the same twice", flush=True)
    for seed in different:
        print(f"DIFFERENT: seed {seed}")
    return 1 if different else 0


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        print(play(world_of(plan_of(int(argument)))).trace, flush=True)
