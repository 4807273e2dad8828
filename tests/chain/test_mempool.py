"""The mempool: what it takes, what it drops, and what it offers to a proposer."""

from dataclasses import replace

import pytest

from chain.codec import encode
from chain.execution.block import draft_block
from chain.mempool import Mempool, MempoolLimits
from chain.reasons import Reason
from chain.types.transaction import CommitWork, ProveWork, SubmitTask, Transfer
from chain.waiting import RIDERS
from tests.chain.execution.world import COINS, COMMONS, MODEL, MODELS, PARAMS, World, key

BOB = key("bob").public_key
ROOM = PARAMS.max_block_bytes


def transfer(world: World, name: str, *, nonce: int = 0, tip: int = 0, amount: int = 1, **fields):
    return world.sign(name, Transfer(BOB, amount), nonce=nonce, tip=tip, **fields)


def pool_of(world: World, *transactions, **limits) -> Mempool:
    pool = Mempool(world.params, MempoolLimits(**limits))
    for signed in transactions:
        assert pool.add(signed, world.state) is Reason.OK
    return pool


def test_what_comes_in_can_be_looked_up():
    world = World()
    signed = transfer(world, "alice")
    pool = pool_of(world, signed)
    assert (len(pool), signed.id in pool, pool.get(signed.id)) == (1, True, signed)
    assert pool.get(bytes(32)) is None
    assert pool.size == len(encode(signed))
    assert pool.add(signed, world.state) is Reason.ALREADY_KNOWN
    assert (pool.next_nonce(key("alice").public_key, 0), pool.next_nonce(BOB, 3)) == (1, 3)


@pytest.mark.parametrize(
    ("name", "fields", "reason"),
    [
        ("alice", {"chain_id": "tesu"}, Reason.WRONG_CHAIN),
        ("alice", {"max_base_fee": 0}, Reason.FEE_TOO_LOW),
        ("alice", {"nonce": 17}, Reason.NONCE_TOO_HIGH),
        ("alice", {"amount": COINS}, Reason.INSUFFICIENT_FUNDS),
        ("alice", {"tip": COINS}, Reason.INSUFFICIENT_FUNDS),
        ("mallory", {"amount": 0}, Reason.INSUFFICIENT_FUNDS),
    ],
)
def test_what_is_refused(name, fields, reason):
    world = World()
    pool = pool_of(world)
    assert pool.add(transfer(world, name, **fields), world.state) is reason
    assert len(pool) == 0


def test_a_false_signature_is_refused_and_changes_nothing():
    world = World()
    pool = pool_of(world, transfer(world, "alice", tip=1), transactions=1)
    false = replace(transfer(world, "carol", tip=9), signature=bytes(64))
    assert pool.add(false, world.state) is Reason.BAD_SIGNATURE
    assert len(pool) == 1
    cheap = replace(transfer(world, "carol"), signature=bytes(64))
    assert pool.add(cheap, world.state) is Reason.MEMPOOL_FULL


def test_an_executed_nonce_is_too_low():
    world = World()
    signed = transfer(world, "alice")
    world.block(signed)
    assert pool_of(world).add(signed, world.state) is Reason.NONCE_TOO_LOW


def test_a_transaction_over_the_limit():
    world = World()
    body = SubmitTask(MODEL, 1, bytes(PARAMS.max_transaction_bytes), 1)
    assert pool_of(world).add(world.sign("alice", body), world.state) is Reason.TOO_LARGE


def test_gaps_are_allowed_up_to_a_bound_and_fill_up():
    world = World()
    pool = pool_of(world, *[transfer(world, "alice", nonce=n) for n in (2, 1)], gap=2)
    assert pool.add(transfer(world, "alice", nonce=3), world.state) is Reason.NONCE_TOO_HIGH
    assert pool.select(world.state, max_bytes=ROOM) == []
    assert pool.add(transfer(world, "alice"), world.state) is Reason.OK
    assert pool.add(transfer(world, "alice", nonce=5), world.state) is Reason.OK
    assert [s.transaction.nonce for s in pool.select(world.state, max_bytes=ROOM)] == [0, 1, 2]
    assert pool.next_nonce(key("alice").public_key, 0) == 3


def test_a_sender_has_a_limited_queue():
    world = World()
    pool = pool_of(world, *[transfer(world, "alice", nonce=n) for n in range(3)], per_sender=3)
    assert pool.add(transfer(world, "alice", nonce=3), world.state) is Reason.SENDER_QUEUE_FULL
    assert pool.add(transfer(world, "bob"), world.state) is Reason.OK


def test_the_fees_of_a_queue_must_be_covered_in_sum():
    world = World()
    size = len(encode(transfer(world, "alice", tip=4000)))
    pool = pool_of(world, transfer(world, "alice", tip=4000))
    assert size * 4001 * 2 > COINS
    assert pool.add(transfer(world, "alice", nonce=1, tip=4000), world.state) is Reason.INSUFFICIENT_FUNDS


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ((8, 80), (9, 90), Reason.OK),
        ((8, 80), (8, 90), Reason.REPLACEMENT_UNDERPRICED),
        ((8, 80), (9, 89), Reason.REPLACEMENT_UNDERPRICED),
        ((9, 80), (10, 90), Reason.REPLACEMENT_UNDERPRICED),
        ((9, 80), (11, 90), Reason.OK),
        ((0, 80), (0, 90), Reason.REPLACEMENT_UNDERPRICED),
        ((0, 80), (1, 90), Reason.OK),
    ],
)
def test_a_replacement_pays_an_eighth_more_in_both(old, new, reason):
    world = World()
    first = transfer(world, "alice", tip=old[0], max_base_fee=old[1])
    second = transfer(world, "alice", tip=new[0], max_base_fee=new[1], amount=2)
    pool = pool_of(world, first)
    assert pool.add(second, world.state) is reason
    assert len(pool) == 1
    expected = second if reason is Reason.OK else first
    assert pool.select(world.state, max_bytes=ROOM) == [expected]
    assert pool.fate(first.id) is (Reason.REPLACED if reason is Reason.OK else None)


def test_a_full_pool_drops_the_cheapest_tail_for_a_better_payer():
    world = World()
    kept = transfer(world, "alice", tip=5)
    cheap = transfer(world, "carol", tip=2)
    pool = pool_of(world, kept, cheap, transactions=2)
    assert pool.add(transfer(world, "dave", tip=2), world.state) is Reason.MEMPOOL_FULL
    better = transfer(world, "dave", tip=3)
    assert pool.add(better, world.state) is Reason.OK
    assert pool.fate(cheap.id) is Reason.MEMPOOL_FULL
    assert pool.select(world.state, max_bytes=ROOM) == [kept, better]


def test_only_the_end_of_a_queue_is_dropped():
    """A cheap transaction before a dear one is kept: without it the dear one could not be executed."""
    world = World()
    first, second = transfer(world, "alice", tip=0), transfer(world, "alice", nonce=1, tip=9)
    pool = pool_of(world, first, second, transactions=2)
    assert pool.add(transfer(world, "dave", tip=5), world.state) is Reason.MEMPOOL_FULL
    assert pool.add(transfer(world, "dave", tip=10), world.state) is Reason.OK
    assert (first.id in pool, second.id in pool) == (True, False)


def test_nobody_pushes_out_their_own_predecessors():
    world = World()
    pool = pool_of(world, transfer(world, "alice", tip=1), transactions=1)
    assert pool.add(transfer(world, "alice", nonce=1, tip=5), world.state) is Reason.MEMPOOL_FULL


def test_equal_payers_are_dropped_latest_first():
    world = World()
    one, two = transfer(world, "alice", tip=1), transfer(world, "carol", tip=1)
    pool = pool_of(world, one, two, transactions=2)
    assert pool.add(transfer(world, "dave", tip=2), world.state) is Reason.OK
    assert (one.id in pool, two.id in pool) == (True, False)


def test_bytes_are_bounded_too():
    world = World()
    small = transfer(world, "alice")
    pool = pool_of(world, small, bytes=1000)
    huge = world.sign("carol", SubmitTask(MODEL, 1, bytes(1_000), 1), tip=5)
    assert pool.add(huge, world.state) is Reason.MEMPOOL_FULL
    assert pool_of(world, bytes=1000).add(huge, world.state) is Reason.MEMPOOL_FULL
    assert small.id in pool, "nothing is dropped for what does not fit in the end"
    large = world.sign("carol", SubmitTask(MODEL, 1, bytes(750), 1), tip=5)
    assert pool.add(large, world.state) is Reason.OK
    assert (small.id in pool, pool.size <= 1000) == (False, True)


def test_nothing_is_dropped_for_what_does_not_fit_in_the_end():
    """Room for the large one would cost a dear transaction too: then the cheap one stays as well."""
    world = World()
    cheap, dear = transfer(world, "alice", tip=1), transfer(world, "carol", tip=9)
    pool = pool_of(world, cheap, dear, bytes=1_000)
    large = world.sign("dave", SubmitTask(MODEL, 1, bytes(750), 1), tip=5)
    assert pool.add(large, world.state) is Reason.MEMPOOL_FULL
    assert (cheap.id in pool, dear.id in pool, pool.fate(cheap.id)) == (True, True, None)
    assert pool.add(transfer(world, "erin", tip=2, amount=7), world.state) is Reason.OK


def test_the_book_of_tails_stays_small():
    world = World()
    pool = pool_of(world)
    tip = price = 1
    for _ in range(40):
        for name in ("alice", "carol", "dave", "erin"):
            signed = transfer(world, name, tip=tip, max_base_fee=price)
            assert pool.add(signed, world.state) is Reason.OK
            assert len(pool._tails) <= 8 * len(pool) + 128
        tip, price = tip + tip // 8 + 1, price + price // 8 + 1
    for nonce in range(60):
        assert pool.add(transfer(world, "bob", nonce=nonce), world.state) is Reason.OK
    assert len(pool._tails) <= 8 * len(pool) + 128


def test_selection_is_by_tip_and_in_nonce_order():
    world = World()
    pool = pool_of(
        world,
        transfer(world, "alice", tip=1),
        transfer(world, "alice", nonce=1, tip=9),
        transfer(world, "carol", tip=5),
        transfer(world, "dave", tip=5),
    )
    chosen = [(s.transaction.sender, s.transaction.nonce) for s in pool.select(world.state, max_bytes=ROOM)]
    alice, carol, dave = (key(name).public_key for name in ("alice", "carol", "dave"))
    assert chosen == [(carol, 0), (dave, 0), (alice, 0), (alice, 1)]


def test_selection_keeps_within_its_bytes():
    world = World()
    signed = [transfer(world, name) for name in ("alice", "carol", "dave")]
    size = len(encode(signed[0]))
    pool = pool_of(world, *signed)
    assert pool.select(world.state, max_bytes=2 * size) == signed[:2]
    assert pool.select(world.state, max_bytes=size - 1) == []


def test_what_cannot_pay_the_base_fee_waits():
    world = World()
    pool = pool_of(world, transfer(world, "alice", max_base_fee=1), transfer(world, "carol", max_base_fee=9))
    large = [world.sign("erin", SubmitTask(MODEL, 1, bytes(90_000), 1), ahead=i) for i in range(3)]
    world.block(*large)
    assert world.head.next_base_fee == 2
    assert [s.transaction.max_base_fee for s in pool.select(world.state, max_bytes=ROOM)] == [9]
    world.block()
    assert len(pool.select(world.state, max_bytes=ROOM)) == 2


def test_what_an_unfinal_ancestor_executed_is_passed_over():
    world = World()
    signed = [transfer(world, "alice", nonce=n) for n in range(3)]
    pool = pool_of(world, *signed)
    world.block(*signed[:2])
    assert pool.select(world.state, max_bytes=ROOM) == signed[2:]
    assert len(pool) == 3


def test_a_final_block_clears_what_it_executed():
    world = World()
    signed = [transfer(world, "alice", nonce=n) for n in range(3)]
    pool = pool_of(world, *signed)
    world.block(*signed[:2])
    pool.revalidate(world.state)
    assert len(pool) == 1
    assert pool.fate(signed[0].id) is Reason.NONCE_TOO_LOW
    assert pool.select(world.state, max_bytes=ROOM) == signed[2:]


def test_a_final_block_clears_what_lost_its_funds():
    world = World()
    fee = len(encode(transfer(world, "alice", amount=COINS)))
    waiting = [transfer(world, "alice", nonce=n) for n in (1, 2)]
    pool = pool_of(world, transfer(world, "alice"), *waiting)
    world.block(transfer(world, "alice", amount=COINS - 2 * fee - 20, max_base_fee=77))
    pool.revalidate(world.state)
    assert (waiting[0].id in pool, waiting[1].id in pool) == (True, False)
    assert pool.fate(waiting[1].id) is Reason.INSUFFICIENT_FUNDS


def miners_world() -> World:
    world = World()
    world.register("alice")
    world.register("bob")
    return world


def test_only_the_senders_of_a_block_need_to_be_looked_at():
    world = World()
    signed = [transfer(world, name) for name in ("alice", "carol")]
    pool = pool_of(world, *signed)
    world.block(*signed)
    pool.revalidate(world.state, [key("alice").public_key, key("stranger").public_key])
    assert [item.id in pool for item in signed] == [False, True]
    assert pool.select(world.state, max_bytes=ROOM) == []


def test_a_worker_is_forgotten_with_its_last_work():
    world = miners_world()
    pool = pool_of(world, world.sign("alice", ProveWork(bytes(32), b"")))
    world.block(world.sign("alice", Transfer(BOB, 1)))
    pool.revalidate(world.state)
    assert (len(pool), pool._workers) == (0, {})


def test_only_miners_send_work():
    world = miners_world()
    pool = pool_of(world)
    body = CommitWork(bytes(32), 1, 0, 0, 1, bytes(COMMONS.voted.shape.packed_bytes), ())
    assert pool.add(world.sign("carol", body), world.state) is Reason.NOT_A_MINER
    assert pool.add(world.sign("alice", body), world.state) is Reason.OK
    world.block(world.sign("bob", replace(body, commons_start=0)))
    assert world.receipt.reason is Reason.UNITS_OVERCLAIMED
    assert pool.add(world.sign("bob", ProveWork(bytes(32), b"")), world.state) is Reason.NOT_A_MINER


def test_work_goes_before_better_tips_for_half_of_the_room():
    world = miners_world()
    work = world.sign("alice", ProveWork(bytes(32), bytes(300)))
    rest = world.sign("bob", ProveWork(bytes(32), bytes(300)))
    rich = [transfer(world, name, tip=50) for name in ("carol", "dave", "erin")]
    pool = pool_of(world, *rich, work, rest)
    size = len(encode(work))
    assert pool.select(world.state, max_bytes=2 * size) == [work, *rich[:2]]
    assert pool.select(world.state, max_bytes=10 * size) == [work, rest, *rich]


def test_what_stands_before_work_rides_along():
    world = miners_world()
    before = world.sign("alice", Transfer(BOB, 1))
    work = world.sign("alice", ProveWork(bytes(32), b""), ahead=1)
    behind = world.sign("alice", Transfer(BOB, 2), ahead=2)
    rich = transfer(world, "carol", tip=50)
    pool = pool_of(world, rich, before, work, behind)
    assert pool.select(world.state, max_bytes=ROOM) == [before, work, rich, behind]


def test_what_is_no_work_rides_along_block_after_block():
    """A miner that pays many out before it proves waits some blocks and tips nothing."""
    world = miners_world()
    before = [world.sign("alice", Transfer(BOB, 1), ahead=i) for i in range(5)]
    work = world.sign("alice", ProveWork(bytes(32), b""), ahead=5)
    rich = transfer(world, "carol", tip=50)
    pool = pool_of(world, rich, *before, work)
    room = 3 * len(encode(before[0])) * RIDERS * 2
    assert pool.select(world.state, max_bytes=room) == [*before[:3], rich, *before[3:], work]
    world.block(*before[:3])
    assert pool.select(world.state, max_bytes=room) == [*before[3:], work, rich]


def test_one_miner_uses_up_nobody_elses_ride():
    world = miners_world()
    pool = pool_of(world)
    rich = transfer(world, "carol", tip=50)
    bulk = world.sign("alice", SubmitTask(MODEL, 1, bytes(4_000), 1), tip=9)
    proofs = [world.sign(name, ProveWork(bytes(32), b""), ahead=1) for name in ("alice", "bob")]
    small = world.sign("bob", Transfer(BOB, 1))
    for signed in (rich, bulk, small, *proofs):
        assert pool.add(signed, world.state) is Reason.OK
    chosen = pool.select(world.state, max_bytes=ROOM)
    assert chosen == [small, proofs[1], rich, bulk, proofs[0]]


def test_what_was_verified_is_remembered_with_its_signature():
    """The id does not cover the signature: a verified transaction with a false one must not pass."""
    world = World()
    signed = transfer(world, "alice")
    pool = pool_of(world, signed)
    assert pool.is_authentic(signed)
    assert not pool.is_authentic(replace(signed, signature=bytes(64)))
    stranger = transfer(world, "carol")
    assert pool.is_authentic(stranger)
    assert not pool.is_authentic(replace(stranger, signature=bytes(64)))


def test_whatever_is_selected_can_be_in_a_block():
    world = miners_world()
    pool = pool_of(
        world,
        *[transfer(world, name, nonce=n, tip=n) for n in range(4) for name in ("carol", "dave", "erin")],
    )
    chosen = pool.select(world.state, max_bytes=ROOM)
    draft = draft_block(
        world.state, world.context(), chosen, params=PARAMS, models=MODELS, is_authentic=pool.is_authentic
    )
    assert (len(draft.transactions), draft.left_out) == (12, {})
