"""Who contradicts itself is found out, convicted within ten heights, and out of the next committee."""

from dataclasses import replace

import pytest

from chain.execution import queries
from chain.execution.records import MinerStatus
from chain.reasons import Reason
from chain.types.statement import Kind
from chain.types.transaction import ReportEquivocation
from genesis.document import GenesisDocument
from genesis.presets import COIN
from tests.tools.node.cluster import Cluster, consensus_key, miner_key, open_cluster
from tests.tools.node.liar import Liar
from tests.tools.node.worker import Worker
from tools.rpc.methods.evidence import evidence
from tools.rpc.methods.story import why

LIAR = 3
WITHIN = 10
"""Heights from the first lie to the conviction."""

TWO_FACED = [
    (Kind.NOTARIZE, Kind.NOTARIZE),
    (Kind.FINALIZE, Kind.FINALIZE),
    (Kind.NULLIFY, Kind.FINALIZE),
    (Kind.PROPOSE, Kind.PROPOSE),
]


def _short_epochs(document: GenesisDocument) -> GenesisDocument:
    return replace(document, params=replace(document.params, epoch_length=25, genesis_epochs=1))


def _convicted_at(cluster: Cluster) -> int | None:
    found = queries.conviction(cluster.nodes[0].state, consensus_key(LIAR).public_key)
    return None if found is None else found.height


@pytest.mark.parametrize("kinds", TWO_FACED, ids=lambda kinds: "+".join(kind.name for kind in kinds))
async def test_two_faces_cost_bond_and_seats(kinds: tuple[Kind, Kind], tmp_path, autojump_clock) -> None:
    key = consensus_key(LIAR).public_key
    async with open_cluster(tmp_path, 4, watchers={LIAR}, change=_short_epochs) as cluster:
        await cluster.reach(1)
        await Worker(cluster, LIAR).register()
        assert cluster.nodes[0].store.committee(0).seats_of(key) > 0
        liar = Liar(cluster, LIAR, kinds)
        cluster.nursery.start_soon(liar.run)
        last = cluster.genesis.params.last_height(0) + WITHIN
        while _convicted_at(cluster) is None:
            assert cluster.nodes[0].head.height < last, f"lied at {liar.lied_at}, and nobody was convicted"
            await cluster.nodes[0].wait_beyond(cluster.nodes[0].head.height)
        height = _convicted_at(cluster)
        assert height is not None
        assert height <= liar.lied_at[0] + WITHIN
        await cluster.reach(max(cluster.genesis.params.last_height(0), height) + 1)

        for node in cluster.nodes.values():
            conviction = queries.conviction(node.state, key)
            assert conviction is not None
            assert (conviction.height, conviction.burned > 0) == (height, True)
            assert {conviction.epoch} == {0}
            miner = queries.miner(node.state, miner_key(LIAR).public_key)
            assert miner is not None
            assert (miner.status, miner.bond) == (MinerStatus.SLASHED, 0)
            committee = node.store.committee(node.genesis.params.epoch_of(height) + 1)
            assert committee.seats_of(key) == 0
            assert all(committee.seats_of(consensus_key(i).public_key) for i in range(LIAR))
            # Nobody else was accused, and nothing waits any more.
            assert [found for found, _ in queries.convictions(node.state)] == [key]
            assert node.reports.waiting == ()
        _check_told(cluster, key, conviction.report, kinds)


def _check_told(cluster: Cluster, key: bytes, report: bytes, kinds: tuple[Kind, Kind]) -> None:
    node = cluster.nodes[1]
    story = why(node, key.hex())
    assert story.kind == "consensus key"
    assert report.hex() in story.summary
    told = next(event for event in story.events if event.reason is Reason.KEY_CONVICTED)
    assert all(kind.name in told.detail for kind in kinds)
    owner = why(node, miner_key(LIAR).public_key.hex())
    assert Reason.MINER_EQUIVOCATED in [event.reason for event in owner.events]
    assert why(node, report.hex()).kind == "evidence"
    [shown] = evidence(node)
    assert (shown.consensus_key, shown.miner, shown.report) == (key, miner_key(LIAR).public_key, report)
    assert sorted([shown.first.split()[0], shown.second.split()[0]]) == sorted(kind.name for kind in kinds)
    assert shown.burned >= COIN
    place = node.store.find_transaction(report)
    body = node.store.block(place[0]).transactions[place[1]].transaction.body
    assert isinstance(body, ReportEquivocation)
    assert body.evidence.is_authentic(cluster.genesis.params.chain_id)


async def test_honest_nodes_are_never_accused(tmp_path, autojump_clock) -> None:
    """Restarts, and an epoch's edge, make no evidence."""
    async with open_cluster(tmp_path, 4, change=_short_epochs) as cluster:
        for round_ in range(4):
            await cluster.reach(5 * round_ + 3)
            await cluster.kill(round_)
            await cluster.start(round_)
        await cluster.reach(cluster.genesis.params.last_height(0) + 3)
        for node in cluster.nodes.values():
            assert list(queries.convictions(node.state)) == []
            assert node.reports.waiting == ()
