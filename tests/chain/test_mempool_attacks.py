"""What nobody can do to the mempool: keep proofs out, empty blocks, or pay nothing for either."""

from dataclasses import replace

from chain.codec import encode
from chain.execution.block import draft_block
from chain.mempool import Mempool, MempoolLimits
from chain.reasons import Reason
from chain.types.params import MAX_BLOCK_OVERHEAD
from chain.types.transaction import Body, ProveWork, SignedTransaction, SubmitTask, Transfer
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


def test_a_miner_does_not_fill_the_room_for_work_with_what_is_no_work():
    """What stands before a commit or a proof rides along, but not four tasks that fill the block."""
    world = World()
    for name in ("bob", "carol"):
        world.register(name)
    pool = Mempool(PARAMS)
    for ahead in range(4):
        task = world.sign("bob", body_of(95_000), ahead=ahead, tip=1)
        assert pool.add(task, world.state) is Reason.OK
    assert pool.add(world.sign("bob", ProveWork(bytes(32), b""), ahead=4), world.state) is Reason.OK
    proof = ProveWork(bytes(32), bytes(20_000))
    assert pool.add(world.sign("carol", proof), world.state) is Reason.OK
    assert proof in drafted(pool, world)


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


def left_behind(world: World, pool: Mempool, *bodies: Body, tip: int = 50) -> list[SignedTransaction]:
    """Alice's transactions in the pool, taken at a base fee of 1, which then is 2, more than she accepts."""
    waiting = [
        world.sign("alice", body, nonce=nonce, tip=tip, max_base_fee=1) for nonce, body in enumerate(bodies)
    ]
    for signed in waiting:
        assert pool.add(signed, world.state) is Reason.OK
    world.set_base_fee(2)
    pool.revalidate(world.state, [])
    return waiting


def test_what_the_base_fee_left_behind_holds_no_place():
    """No block takes it and it pays nothing, whatever tip it promises."""
    world = World()
    pool = Mempool(PARAMS, MempoolLimits(transactions=8))
    left_behind(world, pool, *[Transfer(BOB, 0)] * 8)
    assert drafted(pool, world) == []
    for name in ("carol", "dave"):
        assert pool.add(world.sign(name, Transfer(BOB, 1)), world.state) is Reason.OK
    assert len(drafted(pool, world)) == 2


def test_what_follows_what_the_base_fee_left_behind_holds_no_place_either():
    world = World()
    pool = Mempool(PARAMS, MempoolLimits(transactions=2))
    first, *_ = left_behind(world, pool, Transfer(BOB, 0))
    behind = world.sign("alice", Transfer(BOB, 0), nonce=1, tip=50)
    assert pool.add(behind, world.state) is Reason.OK
    assert pool.add(world.sign("carol", Transfer(BOB, 1)), world.state) is Reason.OK
    assert (first.id in pool, behind.id in pool) == (True, False)


def test_what_cannot_be_in_the_next_block_pushes_out_nothing_of_its_kind_that_reaches_farther():
    world = World()
    pool = Mempool(PARAMS, MempoolLimits(transactions=1))
    (waiting,) = left_behind(world, pool, Transfer(BOB, 0), tip=0)
    gap = world.sign("carol", Transfer(BOB, 1), nonce=1, tip=50)
    assert pool.add(gap, world.state) is Reason.MEMPOOL_FULL
    assert waiting.id in pool


def test_a_base_fee_that_falls_makes_what_waited_worth_keeping():
    world = World()
    pool = Mempool(PARAMS, MempoolLimits(transactions=2))
    waiting = left_behind(world, pool, Transfer(BOB, 0), Transfer(BOB, 0))
    world.set_base_fee(1)
    assert pool.add(world.sign("carol", Transfer(BOB, 1), tip=49), world.state) is Reason.MEMPOOL_FULL
    assert pool.select(world.state, max_bytes=PARAMS.max_block_bytes) == waiting


def test_of_what_waits_for_a_lower_base_fee_the_farthest_goes_first_and_work_last():
    world = World()
    world.register("alice")
    pool = Mempool(PARAMS, MempoolLimits(transactions=3))
    waiting = [
        world.sign("carol", Transfer(BOB, 0), tip=1, max_base_fee=3),
        world.sign("dave", Transfer(BOB, 0), tip=2, max_base_fee=2),
        world.sign("alice", ProveWork(bytes(32), b""), max_base_fee=1),
    ]
    for signed in waiting:
        assert pool.add(signed, world.state) is Reason.OK
    world.set_base_fee(4)
    kept = [[True, False, True], [False, False, True], [False, False, False]]
    for nonce, expected in enumerate(kept):
        newcomer = world.sign("erin" if nonce % 2 else "bob", Transfer(BOB, 1), nonce=nonce // 2)
        assert pool.add(newcomer, world.state) is Reason.OK
        assert [signed.id in pool for signed in waiting] == expected
