"""Every way to split proposals and messages in the first two views of the smallest world, one by one.

Four validators, number 0 two-faced and leader of both views. In each view the adversary decides which
honest node hears which face, and which honest nodes hear anything else at all (votes and certificates). By
symmetry the first honest node hears face 0. That is (4 * 8) ** 2 = 1024 worlds; after two views the network
is well, and everyone must agree and go on.
"""

from dataclasses import replace

import pytest

from consensus.messages import ConsensusMessage, Proposal
from consensus.simplex.leader import leader_of
from tests.consensus.fakes import committee_of
from tests.simulation.abstract import AbstractLedger
from tests.simulation.judge import BUGS
from tests.simulation.keys import consensus_key
from tests.simulation.node import Node
from tests.simulation.plan import Plan
from tests.simulation.play import simulated
from tests.simulation.watch import Violation
from tests.simulation.wire import Wire
from tests.simulation.world import World

PLAN_MS = 600
"""Two views, even if both end by their timers (250 ms each)."""
END_MS = 5000

Split = tuple[int, int]
"""Of a view, in bits, one a node: who hears face 1, and who hears votes."""

SPLITS: list[Split] = [(faces << 1, hears) for faces in range(4) for hears in range(8)]


class PlannedWorld(World):
    """A world whose first views follow a plan."""

    def __init__(self, first: Split, second: Split) -> None:
        plan = Plan(
            0, habits=("two_faced",), committees="whole", epoch_length=50, block_interval_ms=100,
            network_delay_ms=50,
        )  # fmt: skip
        super().__init__(plan, wire=Wire(least_ms=5, most_ms=6))
        self.splits = first, second
        self.drops = self._planned
        for node in self.nodes:
            _begin_with(node.ledger, BEACON)

    def _planned(self, sender: Node, receiver: Node, message: ConsensusMessage) -> bool:
        if receiver.is_twin or message.view >= len(self.splits) or self.now >= PLAN_MS:
            return False
        faces, hears = self.splits[message.view]
        bit = 1 << (receiver.number - 1)
        if isinstance(message, Proposal):
            return sender.face != bool(faces & bit)
        return not hears & bit

    def _reaches(self, sender: Node, receiver: Node) -> bool:
        return True


def _begin_with(ledger: AbstractLedger, beacon: bytes) -> None:
    """Another beacon at height 0 of a fresh chain."""
    start = replace(ledger.final_head, beacon=beacon)
    ledger.headers, ledger.final = {start.digest: start}, [start.digest]


def _beacon_of_zero() -> bytes:
    """A beacon under which validator 0 leads views 0 and 1."""
    keys = [consensus_key(number).public_key for number in range(4)]
    committee = committee_of(keys)
    for number in range(10_000):
        beacon = number.to_bytes(32, "big")
        if all(leader_of(committee, beacon=beacon, epoch=0, view=view) == keys[0] for view in (0, 1)):
            return beacon
    raise AssertionError


BEACON = _beacon_of_zero()


def check(first: Split, second: Split) -> int:
    """Play one plan; the heights that became final while it lasted."""
    world = PlannedWorld(first, second)
    world.start()
    world.run(PLAN_MS)
    during = max(world.heights())
    world.run_while(lambda: min(world.heights()) < during + 2, END_MS, step=50)
    assert min(world.heights()) >= during + 2, (first, second, world.heights())
    assert not world.watch.reports, (first, second, world.watch.reports)
    guilty = world.nodes[0].key.public_key
    assert {evidence.signer for _, evidence in world.watch.accusations} <= {guilty}, (first, second)
    return during


def test_splits_of_two_views() -> None:
    """A quarter of all plans, each first view with every fourth second view."""
    with simulated():
        during = {check(SPLITS[i], SPLITS[j]) for i in range(32) for j in range(i % 4, 32, 4)}
    assert {0, 1, 2} <= during, "the plans make no difference"


@pytest.mark.parametrize("name", ["finalizes_after_nullify", "notarizes_twice"])
def test_a_planted_bug_shows_in_the_first_plans(name: str) -> None:
    with BUGS[name].planted(), simulated(), pytest.raises(Violation):
        max(check(SPLITS[0], second) for second in SPLITS)


@pytest.mark.slow
def test_every_split_of_two_views() -> None:
    with simulated():
        assert {0, 1, 2} <= {check(first, second) for first in SPLITS for second in SPLITS}
