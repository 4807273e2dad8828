"""A frame that is of no use costs its head; a flood of them costs whoever sends it, and no honest peer."""

import random
from dataclasses import replace

import pytest
import trio
import trio.lowlevel
from trio.testing import MockClock

from chain.codec import encode
from chain.msgpack_reader import DecodeError
from chain.types.block import Block
from chain.types.statement import NOTHING, Kind
from chain.types.transaction import SignedTransaction, Transaction, Transfer
from consensus.messages import (
    Certificate,
    ConsensusMessage,
    Hearsay,
    Proposal,
    Seal,
    decode_message,
    encode_message,
    head_of,
)
from consensus.opening import open_epoch
from consensus.reception import OVER_COST, PROPOSAL_OVERHEAD, Reception
from consensus.simplex import events
from consensus.simplex.proposing import PROPOSALS_AHEAD
from consensus.simplex.protocol import Simplex
from consensus.simplex.rounds import VIEWS_AHEAD
from consensus.simplex.witness import WITNESSED_VIEWS
from p2p.limits import Limits
from p2p.memory import Link, open_hub
from p2p.memory_node import MemoryNetwork
from p2p.network import Inbound, Lane, PeerId
from tests.consensus.chains import chain_of
from tests.consensus.cluster import Cluster, open_cluster
from tests.consensus.fakes import CHAIN_ID
from tests.consensus.test_messages import BLOCK, HEARSAY


@pytest.fixture
def autojump_clock() -> MockClock:
    return MockClock(autojump_threshold=0)


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Frames that were decoded, by whichever machine."""
    frames: list[bytes] = []

    def counted(data: bytes, *, limit: int) -> ConsensusMessage:
        frames.append(data)
        return decode_message(data, limit=limit)

    monkeypatch.setattr("consensus.reception.decode_message", counted)
    return frames


def forged(epoch: int, view: int) -> bytes:
    return encode_message(Proposal(epoch, view, BLOCK, bytes([7]) * 64))


async def tell(network: MemoryNetwork, whom: PeerId, *frames: bytes) -> None:
    await trio.lowlevel.checkpoint()
    for frame in frames:
        assert network.send(whom, Lane.CONSENSUS, frame)
        await trio.sleep(0.01)
    await trio.sleep(0.1)


async def test_a_flood_of_what_is_over_is_not_decoded_and_costs_its_sender(
    autojump_clock: MockClock, decoded: list[bytes]
) -> None:
    async with open_cluster() as cluster:
        cluster.start()
        await trio.sleep(5)
        machine, mallory = cluster.machines[0], cluster.stranger()
        assert machine.engine.status().epoch > 0
        await tell(mallory, machine.name, *[forged(0, 0)] * 200)
        assert machine.network.charged[mallory.local_id, Lane.CONSENSUS] == 200 * OVER_COST
        # It is slow to be read from now on; an honest peer that is late would be no worse off.
        assert mallory.local_id in machine.network.peers()
    assert forged(0, 0) not in decoded


async def test_a_proposal_that_is_here_or_out_of_place_is_not_decoded(
    autojump_clock: MockClock, decoded: list[bytes]
) -> None:
    async with open_cluster() as cluster:
        cluster.start()
        mallory = cluster.stranger()
        await trio.sleep(5)
        machine = cluster.machines[0]
        while True:
            frame = await mallory.inbound.receive()
            message = decode_message(frame.payload, limit=1 << 20)
            if isinstance(message, Proposal) and frame.peer != machine.name:
                break
        await trio.sleep(0.1)
        decoded.clear()
        await tell(mallory, machine.name, *[frame.payload] * 20)
        status = machine.engine.status()
        out_of_place = forged(status.epoch, status.view + 10 * PROPOSALS_AHEAD)
        await tell(mallory, machine.name, *[out_of_place] * 20)
        assert not {frame.payload, out_of_place} & set(decoded)


def test_what_is_too_old_or_too_far_ahead_is_known_by_its_head() -> None:
    final = chain_of(5).final_block(5)
    assert final is not None
    simplex, view, epoch = Simplex(open_epoch(chain_of(4), None)), 40, final.header.epoch

    def known(message: ConsensusMessage) -> bool:
        by_head = simplex.knows_by_head(head_of(message))
        assert not by_head or simplex.knows(PeerId("p"), message)
        return by_head

    def certificate(at: int) -> Certificate:
        return Certificate(Kind.NULLIFY, epoch, at, NOTHING, (Seal(0, bytes(64)),))

    def hearsay(at: int) -> Hearsay:
        return Hearsay(epoch, at, HEARSAY.words)

    certified = Certificate(Kind.FINALIZE, epoch, view, final.digest, ())
    simplex.step(events.Advanced(final.header, final.digest, certified))
    oldest = view + 1 - WITNESSED_VIEWS
    assert known(certificate(view))
    assert not known(certificate(view + 1))
    assert [known(hearsay(at)) for at in (oldest - 1, oldest)] == [True, False]
    ahead = simplex.view + VIEWS_AHEAD
    assert [known(hearsay(at)) for at in (ahead, ahead + 1)] == [False, True]
    last = simplex.view + PROPOSALS_AHEAD
    proposals = [Proposal(epoch, at, BLOCK, bytes(64)) for at in (view, view + 1, last, last + 1)]
    assert [known(proposal) for proposal in proposals] == [True, False, False, True]


@pytest.mark.parametrize("is_next", [False, True])
@pytest.mark.parametrize("is_larger", [False, True])
async def test_a_proposal_larger_than_a_block_may_be_is_not_decoded(is_next: bool, is_larger: bool) -> None:
    """In this epoch its block would be kept before anybody checks it, in the next one it would be held."""
    chain = chain_of(4)
    signed = SignedTransaction(Transaction(CHAIN_ID, bytes(32), 0, 0, 0, Transfer(bytes(32), 1)), bytes(64))
    block = Block(BLOCK.header, (signed,) * 8)
    most = len(encode(block)) - PROPOSAL_OVERHEAD * is_larger
    chain.params = replace(chain.params, max_block_bytes=most)
    proposal = Proposal(1 + is_next, 0, block, bytes(64))
    async with open_hub(rng=random.Random(1)) as hub:
        reception = Reception(hub.join(PeerId("us")), chain, epoch=1, hint=lambda _peer: None)
        frame = Inbound(PeerId("peer"), Lane.CONSENSUS, encode_message(proposal))
        simplex = Simplex(open_epoch(chain, None))
        if is_larger:
            with pytest.raises(DecodeError):
                reception.read(frame, simplex)
        else:
            assert reception.read(frame, simplex) == (None if is_next else proposal)
            assert reception.enter(2) == [(PeerId("peer"), proposal)] * is_next


def worst_charge(cluster: Cluster) -> int:
    networks = [machine.network for machine in cluster.machines]
    # Nobody honest lost a point either, or was sent away.
    assert all(peer.score == 0 for network in networks for peer in network.stats().peers)
    assert all(len(network.peers()) == len(networks) - 1 for network in networks)
    return max((charge for network in networks for charge in network.charged.values()), default=0)


async def test_who_lags_or_was_away_is_not_made_to_pay(autojump_clock: MockClock) -> None:
    """Epochs of two seconds; a machine that hears and is heard three seconds late, cut off, killed."""
    async with open_cluster() as cluster:
        cluster.start()
        await trio.sleep(5)
        names = [machine.name for machine in cluster.machines]
        for other in names[:3]:
            cluster.hub.set_link(names[3], other, Link(delay=3.0))
            cluster.hub.set_link(other, names[3], Link(delay=3.0))
        await trio.sleep(30)
        cluster.hub.partition(names[:3], names[3:])
        await trio.sleep(20)
        cluster.hub.heal()
        await trio.sleep(20)
        await cluster.machines[1].kill()
        await trio.sleep(6)
        cluster.start(cluster.machines[1])
        await trio.sleep(20)
        assert worst_charge(cluster) < Limits().strangers_burst / 2
