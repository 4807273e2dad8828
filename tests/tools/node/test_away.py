"""A node that was away, is new, forgets, or went back: it is in step again, and says what it waits for."""

from dataclasses import replace

import pytest
import trio

from chain.codec import encode
from chain.store import BlockStore
from consensus.sync.requests import BLOCKS, BlocksRequest
from consensus.sync.state_sync import StateSync, StateSyncSettings
from p2p.network import RequestFailed
from tests.tools.node.cluster import Cluster, open_cluster
from tools.node.node import Node
from tools.node.pruning import STEP, Pruner, PruneRule, least_kept
from tools.node.verify import check_whole
from tools.rpc.faults import RpcFault
from tools.rpc.methods import chain as chain_methods
from tools.rpc.methods.proofs import prove_balance
from tools.rpc.methods.story import why

EPOCH = 6


def short_epochs(genesis):
    return replace(genesis, params=replace(genesis.params, epoch_length=EPOCH))


def begin_with_state(node: Node) -> Node:
    parts = node._parts
    sync = StateSync(
        parts.network, node.store.staging().load(), params=node.genesis.params,
        genesis_committee=node.genesis.committee, settings=StateSyncSettings(EPOCH, patience=None),
    )  # fmt: skip
    return Node(replace(parts, state_sync=sync))


class StateCluster(Cluster):
    """Nodes from number 9 on begin with a state."""

    def _node(self, index: int, store: BlockStore, *, votes: bool) -> Node:
        node = super()._node(index, store, votes=votes)
        return begin_with_state(node) if index >= 9 and store.head.height == 0 else node


@pytest.fixture
def states(monkeypatch):
    monkeypatch.setattr("tests.tools.node.cluster.Cluster", StateCluster)


async def test_a_new_node_begins_with_a_state_and_then_follows(tmp_path, autojump_clock, states):
    async with open_cluster(tmp_path, 4, change=short_epochs) as cluster:
        await cluster.reach(2 * EPOCH + 5)
        new = await cluster.start(9, votes=False)
        assert new.status().syncing.startswith("state sync: ")
        await cluster.reach(cluster.nodes[0].head.height + EPOCH + 3)
        assert new.store.first > 1
        assert new.status().syncing == ""
        assert chain_methods.status(new).first_block == new.store.first
        # Of what lies before, it says so, and it proves balances from the genesis file all the same.
        with pytest.raises(RpcFault) as caught:
            chain_methods.block(new, 3)
        assert caught.value.code == "BEFORE_FIRST_BLOCK"
        with pytest.raises(RpcFault) as caught:
            why(new, "ab" * 32)
        assert caught.value.code == "BEFORE_FIRST_BLOCK"
        check_whole(new.store, new.store._database, new.genesis)
        some = new.genesis.balances[0].account
        assert (await prove_balance(new, some)).chain
        assert (
            chain_methods.committee(new).from_genesis
            is chain_methods.committee(cluster.nodes[0]).from_genesis
        )
        # It stands in for those who were there from the start: the next one begins with its states.
        assert new._snapshots.epochs()
        await cluster.kill(9)
        again = await cluster.start(9, votes=False)
        await cluster.reach(cluster.nodes[0].head.height + 2)
        assert again._snapshots.epochs()
        asker, question = cluster.nodes[0]._parts.network, encode(BlocksRequest(1, 4))
        with pytest.raises(RequestFailed, match="lies before"):
            await asker.request("node-9", BLOCKS, question, timeout=5, limit=1 << 20)


async def test_a_node_that_went_back_is_in_step_again_and_contradicts_nothing(tmp_path, autojump_clock):
    async with open_cluster(tmp_path, 4, change=short_epochs) as cluster:
        await cluster.reach(EPOCH + 7)
        for count in (3, 9):
            await cluster.kill(2)
            database = cluster.databases[2] = cluster.databases[2].reopened()
            store = BlockStore.open(database, genesis=cluster.genesis.digest)
            before = store.head.height
            assert store.roll_back(count) <= before - count
            store.check()
            back = await cluster.start(2)
            await cluster.reach(cluster.nodes[0].head.height + 5)
            assert back.status().syncing == ""
            assert back.store.block(before).digest == cluster.nodes[0].store.block(before).digest


async def test_a_pruned_node_keeps_what_others_need(tmp_path, autojump_clock, states):
    async with open_cluster(tmp_path, 4, change=short_epochs) as cluster:
        node = cluster.nodes[0]
        pruner = Pruner(
            node.store, PruneRule.parse("5"), node.genesis.params, measure=lambda: 0, compact=lambda *_: None
        )
        cluster.nursery.start_soon(pruner.run, node)
        await cluster.reach(6 * EPOCH)
        await trio.sleep(5)
        kept = node.head.height - node.store.first + 1
        assert least_kept(node.genesis.params) <= kept <= least_kept(node.genesis.params) + 2
        check_whole(node.store, node.store._database, node.genesis)
        for gone in (1, 7, EPOCH + 1):
            assert node.store.block(gone) is None
            assert node.store.header(gone) is None
        assert node.store.header(2 * EPOCH) is not None
        # A new node that finds none but pruned ones begins with a state.
        for index in (1, 2, 3):
            cluster.nodes[index].store.prune(cluster.nodes[index].head.height - 3 * EPOCH, most=1000)
        new = await cluster.start(9, votes=False)
        await cluster.reach(cluster.nodes[1].head.height + 5)
        assert new.store.first > 2 * EPOCH


async def test_a_size_on_disk_is_kept_to(tmp_path, autojump_clock):
    async with open_cluster(tmp_path, 4, change=short_epochs) as cluster:
        await cluster.reach(5 * EPOCH)
        node, compacted = cluster.nodes[0], []
        size = [100]
        pruner = Pruner(
            node.store, PruneRule.parse("1KB"), node.genesis.params,
            measure=lambda: size[0], compact=lambda low, high: compacted.append((low, high)),
        )  # fmt: skip
        assert await pruner.round() == 0
        size[0] = 5000
        assert await pruner.round() > 0
        assert compacted == [(1, node.store.first)]
        assert node.head.height - node.store.first + 1 == least_kept(node.genesis.params)
        assert await pruner.round() == 0


async def test_whoever_signs_waits_for_a_few_blocks_and_for_no_compaction(tmp_path, autojump_clock):
    async with open_cluster(tmp_path, 4, change=short_epochs) as cluster:
        await cluster.reach(5 * EPOCH)
        node, in_turn, beside = cluster.nodes[0], [], []

        async def durably(work):
            before = node.store.first
            done = work()
            in_turn.append(node.store.first - before)
            return done

        async def aside(work):
            before = node.store.first
            done = work()
            assert node.store.first == before
            beside.append(work)
            return done

        pruner = Pruner(
            node.store, PruneRule.parse("1KB"), node.genesis.params, measure=lambda: 5000,
            compact=lambda *_: None, durably=durably, beside=aside,
        )  # fmt: skip
        assert await pruner.round() > 2 * STEP
        assert max(in_turn) == STEP
        assert len(beside) == 2, "the look at the size, and the compaction"


@pytest.mark.parametrize("text", ["", "x", "5 apples", "-5", "1.5GB", "GB"])
def test_a_rule_that_is_none_is_refused(text):
    with pytest.raises(ValueError, match="no number of blocks"):
        PruneRule.parse(text)


async def test_a_node_that_catches_up_says_from_whom(tmp_path, autojump_clock):
    async with open_cluster(tmp_path, 4, change=short_epochs) as cluster:
        await cluster.kill(3)
        await cluster.reach(3 * EPOCH)
        back = await cluster.start(3)
        told = set()
        while back.head.height < 3 * EPOCH:
            told.add(back.status().syncing)
            await trio.sleep(0.001)
        assert any(line.startswith("catching up: height ") and "from node-" in line for line in told), told
        await cluster.kill(0)
        await cluster.kill(1)
        await trio.sleep(60)
        alone = cluster.nodes[2].status().syncing
        assert "too few vote" in alone
        await cluster.kill(2)
        await trio.sleep(60)
        assert "no peer is connected" in cluster.nodes[3].status().syncing
