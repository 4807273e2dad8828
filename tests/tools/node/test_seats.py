"""Seats follow checked work: three times the work, three times the seats."""

from dataclasses import replace

import trio

from chain.execution import queries
from chain.reasons import Reason
from genesis.document import GenesisDocument
from tests.tools.node.cluster import Cluster, consensus_key, open_cluster
from tests.tools.node.worker import Worker
from tools.rpc.methods.chain import committee

UNITS = 4
"""Commons units of the smaller miner in one commit."""


def _short_epochs(document: GenesisDocument) -> GenesisDocument:
    return replace(
        document, params=replace(document.params, epoch_length=10, averaging_window=3, genesis_epochs=1)
    )


async def _prove_once(worker: Worker, units: int) -> None:
    finished = worker.work([], units=units)
    commit, receipt = await worker.send(worker.commit_of(finished))
    assert receipt.reason is Reason.OK, receipt
    receipt = await worker.prove(commit, finished)
    assert receipt.reason is Reason.OK, receipt


def _seats(cluster: Cluster, epoch: int) -> list[int]:
    [committee] = {node.store.committee(epoch) for node in cluster.nodes.values()}
    return [committee.seats_of(consensus_key(index).public_key) for index in range(2)]


async def test_three_times_the_work_is_three_times_the_seats(tmp_path, autojump_clock):
    async with open_cluster(tmp_path, 2, change=_short_epochs) as cluster:
        params = cluster.genesis.params
        await cluster.reach(1)
        workers = [Worker(cluster, 0), Worker(cluster, 1)]
        for worker in workers:
            await worker.register()
        assert _seats(cluster, 0) == [32, 32]
        # One round of work in each epoch until the window holds nothing else.
        for epoch in range(1, params.averaging_window + 2):
            await cluster.reach(params.last_height(epoch - 1) + 1)
            async with trio.open_nursery() as nursery:
                for worker, units in zip(workers, (3 * UNITS, UNITS), strict=True):
                    nursery.start_soon(_prove_once, worker, units)
        last = params.averaging_window + 1
        await cluster.reach(params.last_height(last))
        state = cluster.nodes[0].state
        weights = [
            queries.weight(state, consensus_key(index).public_key).since(last + 1 - params.averaging_window)
            for index in range(2)
        ]
        # But for the few units that a commit costs whatever the number of its shards.
        assert 0 <= 3 * weights[1] - weights[0] < weights[0] // 1000
        seats = _seats(cluster, last + 1)
        assert sum(seats) == params.committee_size
        assert abs(seats[0] - 3 * params.committee_size / 4) <= 1, seats


async def test_seats_that_equal_those_of_genesis_may_come_from_work(tmp_path, autojump_clock):
    async with open_cluster(tmp_path, 2, change=_short_epochs) as cluster:
        await cluster.reach(1)
        node = cluster.nodes[1]
        assert committee(node).from_genesis
        workers = [Worker(cluster, 0), Worker(cluster, 1)]
        async with trio.open_nursery() as nursery:
            for worker in workers:
                nursery.start_soon(_register_and_prove, worker)
        await cluster.reach(cluster.genesis.params.last_height(node.status().epoch))
        assert node.status().committee == cluster.genesis.committee
        assert not committee(node).from_genesis


async def _register_and_prove(worker: Worker) -> None:
    await worker.register()
    await _prove_once(worker, UNITS)
