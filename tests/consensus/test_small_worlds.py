"""Every way to split proposals and messages in the first two views of the smallest world, one by one.

Four validators, number 0 two-faced and leader of both views. In each view the adversary decides which
honest node hears which face, and which honest nodes hear anything else at all (votes and certificates). By
symmetry the first honest node hears face 0. That is (4 * 8) ** 2 = 1024 worlds; after two views the network
is well, and everyone must agree and go on.
"""

from dataclasses import replace

import pytest

from chain.types.block import Header
from consensus.messages import ConsensusMessage, Proposal
from tests.consensus.fakes import ChainTwin, committee_of, params
from tests.consensus.node import Node
from tests.consensus.world import Wire, World

PARAMS = params(epoch_length=50, block_interval_ms=100, network_delay_ms=50)
PLAN_MS = 600
"""Two views, even if both end by their timers (250 ms each)."""
END_MS = 5000


class PlannedWorld(World):
    """A world whose first views follow a plan: per view, who hears face 1, and who hears votes."""

    def __init__(self, plan: tuple[tuple[int, int], ...]) -> None:
        super().__init__(0, 4, params=PARAMS, traitors=1, wire=Wire(least_ms=5, most_ms=6))
        self.plan = plan
        self.drops = self.planned
        for node in self.nodes:
            node.chain = _led_by_zero(node.chain)

    def planned(self, sender: Node, receiver: Node, message: ConsensusMessage) -> bool:
        if receiver.face is not None or message.view >= len(self.plan) or self.now >= PLAN_MS:
            return False
        faces, hears = self.plan[message.view]
        bit = 1 << (receiver.number - 1)
        if isinstance(message, Proposal):
            return sender.face != bool(faces & bit)
        return not hears & bit

    def _reaches(self, sender: Node, receiver: Node) -> bool:
        return True


def _led_by_zero(chain: ChainTwin) -> ChainTwin:
    """The same fresh chain with a genesis beacon under which validator 0 leads views 0 and 1."""
    start: Header = chain.final_head
    led = replace(start, beacon=_BEACON)
    chain.headers, chain.final = {led.digest: led}, [led.digest]
    return chain


def _find_beacon() -> bytes:
    from consensus.leader import leader_of
    from tests.consensus.fakes import TagKey

    committee = committee_of(TagKey(number).public_key for number in range(4))
    for number in range(10_000):
        beacon = number.to_bytes(32, "big")
        if all(leader_of(committee, beacon=beacon, epoch=0, view=v) == TagKey(0).public_key for v in (0, 1)):
            return beacon
    raise AssertionError


_BEACON = _find_beacon()


SPLITS = [(faces << 1, hears) for faces in range(4) for hears in range(8)]


def check(first: tuple[int, int], second: tuple[int, int]) -> int:
    """Play one plan; the heights that became final while it lasted."""
    world = PlannedWorld((first, second))
    world.start()
    world.run(PLAN_MS)
    during = max(world.heights())
    while min(world.heights()) < during + 2:
        assert world.now < END_MS, (first, second, world.heights())
        world.run(world.now + 50)
    assert not world.reports, (first, second, world.reports)
    guilty = world.nodes[0].key.public_key
    assert {evidence.signer for _, evidence in world.accusations} <= {guilty}, (first, second)
    return during


def test_splits_of_two_views() -> None:
    """A quarter of all plans, each first view with every fourth second view."""
    during = {check(SPLITS[i], SPLITS[j]) for i in range(32) for j in range(i % 4, 32, 4)}
    assert {0, 1, 2} <= during, "the plans make no difference"


@pytest.mark.slow
def test_every_split_of_two_views() -> None:
    assert {0, 1, 2} <= {check(first, second) for first in SPLITS for second in SPLITS}
