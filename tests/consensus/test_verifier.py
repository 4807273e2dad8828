"""What gets no vote because of its timestamp, and what does although it is ahead of our clock."""

import pytest

from chain.crypto.ed25519 import SecretKey, derive_seed
from chain.types.block import Block
from consensus.ledger import BuildRequest
from consensus.messages import Kind, Proposal, Statement
from consensus.opening import open_epoch
from consensus.simplex import events
from consensus.simplex.protocol import Simplex
from consensus.verifier import Distrust, Verifier
from p2p.network import PeerId
from tests.consensus.fakes import CHAIN_ID, ChainTwin, committee_of, params

KEYS = [SecretKey(derive_seed(bytes(32), "consensus", index)) for index in range(4)]
COMMITTEE = committee_of(key.public_key for key in KEYS)
PEER = PeerId("peer")
NOW, MOST_AHEAD = 50_000, 10_000


class Scene:
    """A node at height 0 in view 0, whose clock says `NOW`."""

    def __init__(self) -> None:
        self.chain = ChainTwin(params(), lambda _: COMMITTEE)
        self.simplex = Simplex(open_epoch(self.chain, None))
        self.simplex.step(events.Resumed())
        self.verifier = Verifier(CHAIN_ID, None, now_ms=lambda: NOW, max_clock_ahead_ms=MOST_AHEAD)

    def block(self, parent: bytes, *, view: int, timestamp_ms: int) -> Block:
        leader = self.simplex.leader(view)
        return self.chain.make(BuildRequest(parent, 0, view, timestamp_ms, leader, bytes(80)))

    def check(self, block: Block, *, view: int) -> events.Event | None:
        key = next(key for key in KEYS if key.public_key == self.simplex.leader(view))
        statement = Statement(Kind.PROPOSE, 0, view, block.digest)
        proposal = Proposal(0, view, block, key.sign(statement.signing_bytes(CHAIN_ID)))
        return self.verifier.check(self.simplex, PEER, proposal)

    def know(self, block: Block) -> None:
        self.simplex.step(events.BlockFetched(block, block.digest))


def test_a_proposal_ahead_of_our_clock_is_neither_believed_nor_blamed_on_the_peer() -> None:
    scene = Scene()
    genesis = scene.chain.final_head.digest
    block = scene.block(genesis, view=0, timestamp_ms=NOW + MOST_AHEAD)
    assert isinstance(scene.check(block, view=0), events.ProposalSeen)
    with pytest.raises(Distrust, match="10001 ms ahead of our clock"):
        scene.check(scene.block(genesis, view=0, timestamp_ms=NOW + MOST_AHEAD + 1), view=0)


def test_a_chain_that_went_ahead_of_the_time_goes_on_by_a_millisecond_a_block() -> None:
    """A quorum's clocks were hours ahead and are right again: nobody can propose anything earlier."""
    scene = Scene()
    ahead = NOW + 4 * 3_600_000
    parent = scene.block(scene.chain.final_head.digest, view=0, timestamp_ms=ahead)
    scene.know(parent)
    assert isinstance(
        scene.check(scene.block(parent.digest, view=1, timestamp_ms=ahead + 1), view=1), events.ProposalSeen
    )
    with pytest.raises(Distrust):
        scene.check(scene.block(parent.digest, view=1, timestamp_ms=ahead + 2), view=1)


def test_a_timestamp_cannot_be_judged_before_the_parent_is_here() -> None:
    """Those who notarized the parent have it and judge; who does not fetches it first."""
    scene = Scene()
    ahead = NOW + 4 * 3_600_000
    parent = scene.block(scene.chain.final_head.digest, view=0, timestamp_ms=ahead)
    block = scene.block(parent.digest, view=1, timestamp_ms=ahead + 500)
    assert isinstance(scene.check(block, view=1), events.ProposalSeen)


def test_the_last_block_of_an_epoch_keeps_its_time_when_it_is_proposed_again() -> None:
    scene = Scene()
    block = scene.block(scene.chain.final_head.digest, view=0, timestamp_ms=NOW + 4 * 3_600_000)
    with pytest.raises(Distrust):
        scene.check(block, view=0)
    assert isinstance(scene.check(block, view=1), events.ProposalSeen)
