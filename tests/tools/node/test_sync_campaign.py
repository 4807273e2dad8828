"""The campaign in small: a new node among four liars, in memory, with the disk's real database."""

from tests.tools.node.sync_campaign import campaign, make_source


async def test_a_new_node_among_liars_begins_with_a_state_and_another_replays(tmp_path, autojump_clock):
    await make_source(tmp_path / "source", 300, epoch_length=24, transfers=2)
    figures = await campaign(tmp_path, kind="memory", epoch_length=24)
    assert figures.blocks == 300
    assert figures.lies_found >= 1
    assert figures.pieces >= 1
