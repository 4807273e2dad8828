"""What nobody can do to the mempool: keep proofs out, empty blocks, or pay nothing for either."""

from dataclasses import replace

from chain.codec import encode
from chain.execution.block import draft_block
from chain.mempool import Mempool
from chain.reasons import Reason
from chain.types.params import MAX_BLOCK_OVERHEAD
from chain.types.transaction import ProveWork, SubmitTask, Transfer
from tests.chain.execution.world import MODELS, PARAMS, World, key

BOB = key("bob").public_key


def body_of(size: int) -> SubmitTask:
    """Fills a block; its model is unknown, so it costs the fee alone."""
    return SubmitTask(bytes(32), 1, bytes(size), 0)


def drafted(pool: Mempool, world: World) -> list[object]:
    """Bodies of the block that a proposer would make now."""
    draft = draft_block(
        world.state, world.context(),
        pool.select(world.state, max_bytes=world.params.max_block_bytes - MAX_BLOCK_OVERHEAD),
        params=world.params, models=MODELS, is_authentic=pool.is_authentic,
    )  # fmt: skip
    return [signed.transaction.body for signed in draft.transactions]


def test_followers_that_cannot_pay_do_not_empty_the_block():
    """The first transaction gives all coins away, so the large ones behind it can be in no block."""
    world = World()
    pool = Mempool(PARAMS)
    fee = 3 * (len(encode(world.sign("alice", Transfer(BOB, 1), tip=2))) + 8)
    first = world.sign("alice", Transfer(BOB, world.balance("alice") - fee), tip=2)
    assert pool.add(first, world.state) is Reason.OK
    for nonce in range(1, 5):
        pool.add(world.sign("alice", body_of(95_000), nonce=nonce, tip=1), world.state)
    for name in ("carol", "dave", "erin"):
        assert pool.add(world.sign(name, body_of(95_000)), world.state) is Reason.OK
    assert len(drafted(pool, world)) == 4


def test_proofs_of_nothing_leave_half_of_the_weight_to_others():
    """A proof weighs its cells: 40 of a few bytes fill the block's weight long before its bytes."""
    params = replace(PARAMS, cell_weight=800)
    names = ("bob", "carol", "dave")
    world = World(params=params)
    pool = Mempool(params)
    for name in names:
        world.register(name)
    for name in names:
        for ahead in range(40):
            proof = ProveWork(bytes([ahead]) * 32, b"")
            signed = world.sign(name, proof, ahead=ahead, max_base_fee=50)
            assert pool.add(signed, world.state) is Reason.OK
    task = body_of(50_000)
    assert pool.add(world.sign("alice", task, tip=10), world.state) is Reason.OK
    assert task in drafted(pool, world)
