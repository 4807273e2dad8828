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

from chain.types.committee import is_quorum
from tests.tools.testnet.live import LiveTestnet, contradictions, eventually, live_testnet
from tools.rpc.client import Client
from tools.rpc.messages import CommitteeView

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
    with live_testnet(tmp_path / "net", "--seed", "kills") as net:
        names = [node.name for node in net.validators]
        returns = [kill_one(net, names, draw, number) for number in range(1, KILLS + 1)]
        print(f"back after {sorted(returns)[KILLS // 2]:.1f} s (median), {max(returns):.1f} s (longest)")
        assert {name: contradictions(net.signed(name)) for name in names} == {name: [] for name in names}
        top = min(map(net.height, names))
        for height in range(1, top + 1):
            assert len({net.block(name, height).state_root for name in names}) == 1, height
        assert net.end() == 0


def others_have_a_quorum(net: LiveTestnet, name: str, *, seen_by: str) -> bool:
    """Whether the chain can go on without a validator: seats follow work, and one may hold a third."""
    key = bytes.fromhex(net.node(name).consensus_key or "")
    committee = Client(net.node(seen_by).rpc).call(CommitteeView, "committee")
    own = sum(holder.seats for holder in committee.validators if holder.consensus_key == key)
    return is_quorum(committee.seats - own, committee.seats)


def kill_one(net: LiveTestnet, names: list[str], draw: random.Random, number: int) -> float:
    """Kill one validator at a moment of its own, wait for the others, start it; seconds until it votes."""
    victim = draw.choice([name for name in names if others_have_a_quorum(net, name, seen_by=name)])
    others = [name for name in names if name != victim]
    time.sleep(draw.random())  # a block's time: the kill falls anywhere in the protocol
    assert net.headrace("testnet", "kill", victim, "--dir", str(net.folder)).returncode == 0
    before = max(map(net.height, others))
    eventually(
        lambda: (min(map(net.height, others)), others_have_a_quorum(net, victim, seen_by=others[0])),
        # An epoch may begin meanwhile in which the victim holds a third: then they must wait for it.
        lambda seen: seen[0] >= before + 3 or not seen[1],
        within=GO_ON_S,
        what=f"kill {number}, {victim}: (height of the others from {before} on, have a quorum)",
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
