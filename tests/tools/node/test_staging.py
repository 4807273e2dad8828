"""What a disk that lied left of a state on its way in: it is made whole, and nobody is blamed for it."""

import pytest

from chain.codec import encode
from chain.layout import STAGED_EPOCH, EpochEnd, number
from consensus.sync.light import make_epoch_proof
from p2p.network import PeerId
from tests.tools.chain_node import ChainNode, StoredChain, chain_node
from tests.tools.node.test_state_sync import EPOCH, Beginner, advance, hub_of, serve
from tools.node.verify import check_whole


@pytest.fixture(scope="module")
def source() -> ChainNode:
    node = chain_node()
    advance(node, 5 * EPOCH + 3)
    return node


def staged_ends(node: ChainNode, epochs: int) -> list[EpochEnd]:
    chain = StoredChain(node.store, node.genesis.params)
    proofs = [make_epoch_proof(chain, epoch) for epoch in range(epochs)]
    return [EpochEnd(p.header, encode(p.certificate), p.next_committee) for p in proofs if p is not None]


@pytest.mark.parametrize("lost", [0, 2, 3])
async def test_what_lies_behind_a_hole_among_the_ends_of_epochs_is_fetched_again(
    autojump_clock, source, lost
):
    """A disk that lied lost a batch in the middle: the rest would be taken for other epochs than it is of."""
    me = Beginner(source)
    me.store.staging().add_ends(staged_ends(source, 4))
    me.database.write([(STAGED_EPOCH + number(lost), None)])
    me = me.restarted()
    assert [end.header.epoch for end in me.store.staging().load().ends] == list(range(lost))
    assert len(list(me.database.iterate(prefix=STAGED_EPOCH))) == lost, "what is not used is gone"
    async with hub_of() as hub:
        serve(hub.join(PeerId("peer")), source)
        sync = me.sync(hub.join(PeerId("me")))
        assert await sync.run() == 4
    assert sync.refused == 0
    me.adopt(4)
    check_whole(me.restarted().store, me.database, source.genesis)


def test_an_end_in_the_place_of_another_is_not_taken_up(source):
    me = Beginner(source)
    ends = staged_ends(source, 3)
    me.store.staging().add_ends([ends[0], ends[2], ends[1]])
    assert me.store.staging().load().ends == ends[:1]
    staging = me.store.staging()
    staging.ends = [ends[0], ends[2], ends[2]]
    with pytest.raises(AssertionError, match="epoch"):
        me.store.adopt(staging, 2)


async def test_a_hole_among_the_staged_entries_is_filled(autojump_clock, source, monkeypatch):
    """Or an entry that another batch should have changed: entries are compared with the proven root."""
    monkeypatch.setattr("chain.state.chunks.MAX_CHUNK_ENTRIES", 6)
    me = Beginner(source)
    async with hub_of() as hub:
        serve(hub.join(PeerId("peer")), source)
        await me.sync(hub.join(PeerId("me"))).run()
        keys = [key for key, _ in me.database.iterate(prefix=b"s\1")]
        stray = b"s\1" + bytes(20)
        me.database.write([(keys[1], None), (keys[-1], None), (keys[3], b"old"), (stray, b"deleted once")])
        me = me.restarted()
        sync = me.sync(hub.join(PeerId("again")))
        assert await sync.run() == 4
    assert (sync.refused, 0 < sync.pieces < 20) == (0, True)
    me.adopt(4)
    check_whole(me.restarted().store, me.database, source.genesis)
