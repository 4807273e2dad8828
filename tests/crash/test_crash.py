"""A dozen deaths, and a dozen power cuts: `pytest -m slow tests/crash`; more by `python -m tests.crash`."""

import random
from pathlib import Path

import pytest

from tests.crash.__main__ import run
from tests.crash.disks import unavailable

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
