"""Fifty power cuts. Run with

    python3 tools/bootstrap.py test -m slow tests/tools/testnet/test_kills.py

Which process falls, and how long after the last one was back, follows from a seed that a failure prints;
HEADRACE_KILLS_SEED repeats it as far as real processes let themselves be repeated.
"""

import os
import random
import time
from pathlib import Path

import pytest

from tests.tools.testnet.live import LiveTestnet, contradictions, eventually, live_testnet

KILLS = 50
GO_ON_S = 20.0
"""In which the others must finalize three more blocks."""
BACK_S = 20.0
"""In which the victim must be at the head again, voting."""


@pytest.mark.slow
def test_no_kill_stops_the_chain_or_makes_anybody_sign_twice(tmp_path: Path) -> None:
    seed = int(os.environ.get("HEADRACE_KILLS_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
    draw = random.Random(seed)
    print(f"HEADRACE_KILLS_SEED={seed}")
    with live_testnet(tmp_path / "net", "--seed", "kills", "--duty", "0.05") as net:
        names = [node.name for node in net.validators]
        returns = [kill_one(net, names, draw, number) for number in range(1, KILLS + 1)]
        print(f"back after {sorted(returns)[KILLS // 2]:.1f} s (median), {max(returns):.1f} s (longest)")
        assert {name: contradictions(net.signed(name)) for name in names} == {name: [] for name in names}
        top = min(map(net.height, names))
        for height in range(1, top + 1):
            assert len({net.block(name, height).state_root for name in names}) == 1, height
        assert net.end() == 0


def kill_one(net: LiveTestnet, names: list[str], draw: random.Random, number: int) -> float:
    """Kill one validator at a moment of its own, wait for the others, start it; seconds until it votes."""
    victim = draw.choice(names)
    others = [name for name in names if name != victim]
    time.sleep(draw.random())  # a block's time: the kill falls anywhere in the protocol
    assert net.headrace("testnet", "kill", victim, "--dir", str(net.folder)).returncode == 0
    before = max(map(net.height, others))
    eventually(
        lambda: min(map(net.height, others)),
        lambda lowest: lowest >= before + 3,
        within=GO_ON_S,
        what=f"kill {number}, {victim}: three blocks without it",
    )
    signed = len(net.signed(victim))
    started = time.monotonic()
    assert net.headrace("testnet", "start", victim, "--dir", str(net.folder)).returncode == 0
    eventually(
        lambda: (max(map(net.height, others)) - net.height(victim), len(net.signed(victim)) - signed),
        lambda seen: abs(seen[0]) <= 1 and seen[1] > 0,
        within=BACK_S - (time.monotonic() - started),
        what=f"kill {number}, {victim}: (blocks behind, signatures since)",
    )
    return time.monotonic() - started
