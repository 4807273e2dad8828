"""What nobody can do to the mempool: keep proofs out, empty blocks, or pay nothing for either."""

from dataclasses import replace

from chain.codec import encode
from chain.execution.block import draft_block
from chain.mempool import Mempool, MempoolLimits
from chain.reasons import Reason
from chain.types.params import MAX_BLOCK_OVERHEAD
from chain.types.transaction import ProveWork, SignedTransaction, SubmitTask, Transfer
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


def proof_of(name: str, world: World) -> SignedTransaction:
    return world.sign(name, ProveWork(bytes(32), b"\x90"))


def test_what_can_be_in_no_block_goes_first():
    """Behind a gap, nothing is ever paid: what lies there must not hold a place that others ask for."""
    world = World()
    world.register("carol")
    pool = Mempool(PARAMS, MempoolLimits(transactions=16))
    for nonce in range(1, 17):
        spam = world.sign("alice", Transfer(BOB, 0), nonce=nonce, tip=1)
        assert pool.add(spam, world.state) is Reason.OK
    assert drafted(pool, world) == []
    assert pool.add(world.sign("dave", Transfer(BOB, 1)), world.state) is Reason.OK
    assert pool.add(proof_of("carol", world), world.state) is Reason.OK
    assert len(drafted(pool, world)) == 2


def test_a_gap_that_closes_makes_its_queue_worth_keeping():
    world = World()
    pool = Mempool(PARAMS, MempoolLimits(transactions=2))
    behind = world.sign("alice", Transfer(BOB, 0), nonce=1, tip=1)
    assert pool.add(behind, world.state) is Reason.OK
    assert pool.add(world.sign("alice", Transfer(BOB, 0), tip=1), world.state) is Reason.OK
    assert pool.add(world.sign("dave", Transfer(BOB, 1)), world.state) is Reason.MEMPOOL_FULL
    assert pool.add(world.sign("dave", Transfer(BOB, 1), tip=2), world.state) is Reason.OK
    assert behind.id not in pool


def test_a_block_that_closes_the_gap_makes_its_queue_worth_keeping():
    world = World()
    pool = Mempool(PARAMS, MempoolLimits(transactions=1))
    behind = world.sign("alice", Transfer(BOB, 0), nonce=1, tip=1)
    assert pool.add(behind, world.state) is Reason.OK
    world.block(world.sign("alice", Transfer(BOB, 0)))
    pool.revalidate(world.state, [key("alice").public_key])
    assert pool.add(world.sign("dave", Transfer(BOB, 1), tip=1), world.state) is Reason.MEMPOOL_FULL
    assert behind.id in pool


def test_a_proof_finds_room_among_transfers_that_pay_more():
    world = World()
    world.register("carol")
    pool = Mempool(PARAMS, MempoolLimits(transactions=16))
    for nonce in range(16):
        spam = world.sign("alice", Transfer(BOB, 0), nonce=nonce, tip=5)
        assert pool.add(spam, world.state) is Reason.OK
    proof = proof_of("carol", world)
    assert pool.add(proof, world.state) is Reason.OK
    assert pool.add(world.sign("dave", Transfer(BOB, 1), tip=9), world.state) is Reason.OK
    assert proof.id in pool
