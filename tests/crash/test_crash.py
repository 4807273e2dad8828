"""A few of each hurt: `pytest -m slow tests/crash`; more by `python -m tests.crash`."""

import random
from pathlib import Path

import pytest

from tests.crash.__main__ import run
from tests.crash.disks import unavailable
from tests.crash.full_disk import KINDS, full_disk
from tests.crash.slow_sync import slow_sync

CYCLES = 12


@pytest.mark.slow
@pytest.mark.parametrize("power", [False, True], ids=["killed", "without power"])
def test_nothing_that_was_answered_is_lost(tmp_path: Path, power: bool):
    reason = unavailable() if power else None
    if reason is not None:
        pytest.skip(reason)
    seed = random.SystemRandom().randrange(1, 1 << 32)
    print(f"python -m tests.crash --cycles {CYCLES} --seed {seed}{' --power' * power}")
    tally = run(tmp_path, cycles=CYCLES, seed=seed, power=power)
    assert tally.cycles == CYCLES
    assert sum(tally.reached.values()) > CYCLES // 2


@pytest.mark.slow
def test_a_disk_that_fills_up_stops_its_node_and_nothing_is_lost(tmp_path: Path):
    reason = unavailable()
    if reason is not None:
        pytest.skip(reason)
    seed = random.SystemRandom().randrange(1, 1 << 32)
    print(f"python -m tests.crash --full-disk --cycles {len(KINDS)} --seed {seed}")
    assert full_disk(tmp_path, cycles=len(KINDS), seed=seed).startswith(f"{len(KINDS)} cycles")


@pytest.mark.slow
def test_a_slow_disk_slows_nobody_else(tmp_path: Path):
    seed = random.SystemRandom().randrange(1, 1 << 32)
    print(f"python -m tests.crash --slow-sync --cycles 3 --seed {seed}")
    assert slow_sync(tmp_path, cycles=3, seed=seed).startswith("3 cycles")
