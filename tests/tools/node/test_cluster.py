"""Four whole nodes: they agree, they survive the loss of one, and a node that was away catches up."""

from chain.execution import queries
from chain.reasons import Reason
from chain.types.transaction import Body, SignedTransaction, Transaction, Transfer, sign_transaction
from tests.tools.node.cluster import ALICE, Cluster, miner_key, open_cluster


def _signed(cluster: Cluster, nonce: int, body: Body) -> SignedTransaction:
    chain_id = cluster.genesis.params.chain_id
    return sign_transaction(Transaction(chain_id, ALICE.public_key, nonce, 10, 1, body), ALICE)


def _check_same_chain(cluster: Cluster) -> None:
    nodes = list(cluster.nodes.values())
    for height in range(1, min(node.head.height for node in nodes) + 1):
        blocks = {node.store.block(height).digest for node in nodes}
        assert len(blocks) == 1, f"height {height} has {len(blocks)} blocks"


async def test_four_nodes_finalize_a_transfer_sent_to_one(tmp_path, autojump_clock):
    async with open_cluster(tmp_path, 4) as cluster:
        await cluster.reach(2)
        receiver = miner_key(0).public_key
        before = queries.account(cluster.nodes[3].state, receiver).balance
        sent = _signed(cluster, 0, Transfer(receiver, 5))
        assert await cluster.nodes[0].submit(sent) is Reason.OK
        height = cluster.nodes[0].head.height
        await cluster.reach(height + 5)
        for node in cluster.nodes.values():
            found = node.store.find_transaction(sent.id)
            assert found is not None
            assert height < found[0] <= height + 5
            assert sent.id not in node.mempool
            assert queries.account(node.state, receiver).balance >= before + 5
        _check_same_chain(cluster)
    announced = {peer for peer, _ in cluster.hub.announcements}
    assert len(announced) == 4


async def test_the_others_go_on_without_one_and_it_catches_up(tmp_path, autojump_clock):
    async with open_cluster(tmp_path, 4) as cluster:
        await cluster.reach(3)
        await cluster.kill(2)
        here = max(node.head.height for node in cluster.nodes.values())
        # Past an epoch's edge, so that what it missed includes a committee.
        await cluster.reach(max(here + 10, cluster.genesis.params.last_height(0) + 2))
        back = await cluster.start(2)
        await cluster.reach(cluster.nodes[0].head.height + 3)
        assert back.status().syncing == ""
        _check_same_chain(cluster)


async def test_a_node_without_a_key_follows_and_verifies(tmp_path, autojump_clock):
    async with open_cluster(tmp_path, 4) as cluster:
        await cluster.reach(5)
        follower = await cluster.start(9, votes=False)
        await cluster.reach(cluster.nodes[0].head.height + 5)
        assert follower.consensus_key is None
        assert follower.possession(miner_key(0).public_key) is None
        _check_same_chain(cluster)


async def test_a_whole_cluster_that_lost_power_goes_on(tmp_path, autojump_clock):
    async with open_cluster(tmp_path, 4) as cluster:
        await cluster.reach(4)
        for index in range(4):
            await cluster.kill(index)
        for index in range(4):
            await cluster.start(index)
        await cluster.reach(8)
        _check_same_chain(cluster)
