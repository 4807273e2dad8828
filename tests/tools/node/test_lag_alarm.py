"""A node that hears of no new final block, whoever its peers are, says so within a minute."""

import trio

from tests.tools.node.cluster import open_cluster


async def test_also_at_the_very_beginning(tmp_path, autojump_clock):
    async with open_cluster(tmp_path, 4, watchers=range(4)) as cluster:
        node = cluster.nodes[0]
        assert node.status().syncing == ""
        await trio.sleep(60)
        assert (node.head.height, len(node.peers())) == (0, 3)
        told = node.status().syncing
        assert told.startswith("no final block for 60 s: none of 3 peers has more than height 0")
