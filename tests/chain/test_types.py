"""The containers: pinned bytes, round trips, and what malformed ones cost."""

import tracemalloc
from dataclasses import dataclass, fields, replace
from typing import Annotated

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain.codec import AtMost, decode, encode
from chain.crypto.ed25519 import SecretKey
from chain.hashing import digest, merkle_root
from chain.msgpack_reader import DecodeError
from chain.reasons import Reason
from chain.types.block import Block, Header, beacon_input, next_beacon, transactions_root
from chain.types.committee import Committee, Validator, is_quorum
from chain.types.params import MAX_BLOCK_OVERHEAD, ChainParams
from chain.types.receipt import BlockOutcome, Event, Receipt
from chain.types.transaction import (
    CommitWork,
    ProveWork,
    RegisterMiner,
    SignedTransaction,
    SubmitTask,
    TaskAnswer,
    Transaction,
    Transfer,
    Unregister,
    possession_message,
    sign_transaction,
    signing_message,
)
from tests.chain.execution.world import PARAMS

U16, U32, U64 = (st.integers(0, (1 << bits) - 1) for bits in (16, 32, 64))
HASH = st.binary(min_size=32, max_size=32)
SIGNATURE = st.binary(min_size=64, max_size=64)

BODIES = st.one_of(
    st.builds(Transfer, HASH, U64),
    st.builds(RegisterMiner, HASH, SIGNATURE, U64, st.lists(HASH, max_size=4).map(tuple)),
    st.just(Unregister()),
    st.builds(SubmitTask, HASH, U16, st.binary(max_size=99), U64),
    st.builds(
        CommitWork, HASH, U64, U64, U64, U32, st.binary(max_size=99),
        st.lists(st.builds(TaskAnswer, HASH, st.binary(max_size=20)), max_size=4).map(tuple),
    ),
    st.builds(ProveWork, HASH, st.binary(max_size=99)),
)  # fmt: skip
SIGNED = st.builds(
    SignedTransaction, st.builds(Transaction, st.text(max_size=8), HASH, U64, U64, U64, BODIES), SIGNATURE
)
EVENTS = st.lists(
    st.builds(
        Event,
        st.sampled_from(Reason),
        st.binary(max_size=32),
        st.binary(max_size=32),
        U64,
        st.text(max_size=9),
    ),
    max_size=3,
).map(tuple)
OUTCOMES = st.builds(
    BlockOutcome,
    st.lists(st.builds(Receipt, HASH, st.sampled_from(Reason), U64, U64, EVENTS), max_size=3).map(tuple),
    EVENTS,
    EVENTS,
)

SECRET = SecretKey(bytes(range(32)))
TRANSFER = sign_transaction(
    Transaction("test", SECRET.public_key, 7, 100, 3, Transfer(bytes([9]) * 32, 1 << 40)), SECRET
)
HEADER = Header(
    version=1, chain_id="test", height=5, epoch=0, view=2, parent=bytes([1]) * 32,
    timestamp_ms=1_700_000_000_000,
    proposer=SECRET.public_key, vrf_proof=bytes([2]) * 80, beacon=bytes([3]) * 32, base_fee=12,
    transactions_root=transactions_root([TRANSFER]), receipts_root=bytes([4]) * 32,
    state_root=bytes([5]) * 32,
    next_committee_root=bytes([6]) * 32,
)  # fmt: skip


def test_pinned_transaction():
    """A change here changes every signature: it is consensus-breaking."""
    assert TRANSFER.id.hex() == "9c33edcacb8c2aaf6bbf6c71f4fce87c7e8ae743d05fe6c5e247b059bd138ba8"
    assert (
        digest("test/pin", encode(TRANSFER)).hex()
        == "dc311f726eb01c339bcf07b81919b3e4dd90c94a8b1bd82f7481d44f6bc81349"
    )
    assert len(encode(TRANSFER)) == 156


def test_pinned_header():
    """A change here changes every block: it is consensus-breaking."""
    assert HEADER.digest.hex() == "bcd7b486723891b226629f40d27cfaaf6c778d168920cee8883ac23ec529b208"
    assert transactions_root([]).hex() == "f3c52847429e475faea7a1c208122274fce52686c103cc5c4491538c8b9f5b21"


def test_pinned_outcome():
    event = Event(Reason.TRANSFERRED, bytes([1]) * 32, bytes([2]) * 32, 5, "five coins")
    receipt = Receipt(bytes([3]) * 32, Reason.OK, 150, 300, (event,))
    assert (
        BlockOutcome((receipt,), (event,), ()).root.hex()
        == "5013ba747b9032e31d606dc98025fe3a8eb8e8522f754ba84249c908cbfc9a63"
    )


def test_pinned_beacon():
    alpha = beacon_input("test", bytes(32), 3)
    assert alpha.hex() == "f0bec74cf6d16e04fde12e79834f13f0ded9251b367cbf56db9ff79a1a025b34"
    assert (
        next_beacon(bytes(32), bytes(64)).hex()
        == "3f52df370a34b841a2122998acf0c888426a57744ee643c38bb1a247ced5bb39"
    )


@given(SIGNED)
def test_transactions_round_trip(signed: SignedTransaction):
    assert decode(SignedTransaction, encode(signed), limit=1 << 16) == signed


@given(OUTCOMES)
def test_outcomes_round_trip(outcome: BlockOutcome):
    assert decode(BlockOutcome, encode(outcome), limit=1 << 16) == outcome


@given(st.lists(SIGNED, max_size=3))
def test_blocks_round_trip(transactions):
    block = Block(HEADER, tuple(transactions))
    assert decode(Block, encode(block), limit=1 << 16) == block


@pytest.mark.parametrize("kind", [SignedTransaction, Block, Header, BlockOutcome, Committee, ChainParams])
@given(data=st.data())
def test_mutated_bytes_give_a_reason(kind: type, data: st.DataObject):
    samples = {
        SignedTransaction: TRANSFER,
        Block: Block(HEADER, (TRANSFER,)),
        Header: HEADER,
        BlockOutcome: BlockOutcome((), (Event(Reason.OK, b"a", b"", 1, "x"),), ()),
        Committee: Committee((Validator(bytes(32), bytes(32), 3),)),
        ChainParams: PARAMS,
    }
    raw = bytearray(encode(samples[kind]))
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(raw) - 1))
        action = data.draw(st.sampled_from(["set", "cut", "insert"]))
        if action == "set":
            raw[at] = data.draw(st.integers(0, 255))
        elif action == "cut" and len(raw) > 1:
            del raw[at]
        else:
            raw.insert(at, data.draw(st.integers(0, 255)))
    try:
        value = decode(kind, bytes(raw), limit=1 << 12)
    except DecodeError:
        return
    assert encode(value) == bytes(raw)


@dataclass(frozen=True, slots=True)
class Batch:
    transactions: Annotated[tuple[SignedTransaction, ...], AtMost(1 << 14)]


@pytest.mark.parametrize(
    "value",
    [
        Block(HEADER, tuple(replace(TRANSFER, signature=bytes([i % 256]) * 64) for i in range(400))),
        Batch(
            tuple(
                replace(
                    TRANSFER,
                    transaction=replace(
                        TRANSFER.transaction,
                        chain_id="",
                        nonce=1000 + i,
                        body=CommitWork(
                            bytes(32), 1, 1, 1, 1, b"", tuple([TaskAnswer(bytes([i % 256]) * 32, b"")] * 64)
                        ),
                    ),
                )
                for i in range(40)
            )
        ),
        Batch(
            tuple(
                replace(TRANSFER, transaction=replace(TRANSFER.transaction, body=Unregister()))
                for _ in range(400)
            )
        ),
    ],
    ids=["transfers", "commits", "unregisters"],
)
@pytest.mark.parametrize("cut", [0, 1])
def test_decoding_costs_at_most_eight_times_the_bytes(value, cut: int):
    raw = encode(value)
    raw = raw[: len(raw) - cut]
    with_reason = pytest.raises(DecodeError) if cut else None
    tracemalloc.start()
    if with_reason is None:
        decoded = decode(type(value), raw, limit=1 << 20)
    else:
        with with_reason:
            decode(type(value), raw, limit=1 << 20)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak <= 8 * len(raw), f"{peak / len(raw):.1f} times"
    assert cut or decoded == value


def test_a_signature_covers_the_chain_and_every_field():
    transaction = TRANSFER.transaction
    assert TRANSFER.is_authentic()
    for change in (
        {"chain_id": "tesu"}, {"nonce": 8}, {"max_base_fee": 101}, {"tip": 2},
        {"body": Transfer(bytes([9]) * 32, 1)},
        {"sender": SecretKey(bytes(32)).public_key},
    ):  # fmt: skip
        assert not replace(TRANSFER, transaction=replace(transaction, **change)).is_authentic()


def test_the_id_does_not_cover_the_signature():
    assert replace(TRANSFER, signature=bytes(64)).id == TRANSFER.id
    assert signing_message(TRANSFER.transaction) != TRANSFER.id


def test_possession_is_of_one_chain_and_one_miner():
    assert (
        len(
            {
                possession_message("a", bytes(32)),
                possession_message("b", bytes(32)),
                possession_message("a", b"x"),
            }
        )
        == 3
    )


def test_details_are_for_people_and_not_committed_to():
    event = Event(Reason.TRANSFERRED, b"a", b"b", 5, "one wording")
    other = replace(event, detail="another wording")
    receipt = Receipt(bytes(32), Reason.OK, 1, 1, (event,))
    assert event.leaf == other.leaf
    assert (
        BlockOutcome((receipt,), (event,), ()).root
        == BlockOutcome((replace(receipt, events=(other,)),), (other,), ()).root
    )
    assert event.leaf != replace(event, amount=6).leaf


def test_an_event_cannot_move_between_opening_and_closing():
    event = Event(Reason.OK, b"a", b"", 1, "")
    assert BlockOutcome((), (event,), ()).root != BlockOutcome((), (), (event,)).root


def test_merkle_roots_bind_count_and_order():
    leaves = [bytes([number]) for number in range(7)]
    roots = {merkle_root("test", leaves[:count]) for count in range(8)}
    assert len(roots) == 8
    assert merkle_root("test", leaves[::-1]) not in roots
    assert merkle_root("tesu", leaves) not in roots
    # Duplicating the last leaf, the classic mistake, gives another root.
    assert merkle_root("test", [*leaves, leaves[-1]]) != merkle_root("test", leaves)


def test_a_committee_is_ordered_and_seated():
    one, two = Validator(bytes([1]) * 32, bytes(32), 2), Validator(bytes([2]) * 32, bytes(32), 1)
    committee = Committee((one, two))
    assert committee.seats == 3
    assert [committee.seat_holder(seat) for seat in range(3)] == [one, one, two]
    assert (committee.seats_of(two.consensus_key), committee.seats_of(bytes(32))) == (1, 0)
    assert (committee.index_of(two.consensus_key), committee.index_of(bytes(32))) == (1, None)
    for wrong, message in (
        ((), "a committee needs a validator"),
        ((two, one), "consensus keys are not strictly ascending"),
        ((one, one), "consensus keys are not strictly ascending"),
        ((replace(one, seats=0),), "a validator without a seat"),
    ):
        with pytest.raises(ValueError, match=message):
            Committee(wrong)


@pytest.mark.parametrize(
    ("seats", "total", "enough"),
    [(2, 3, False), (3, 3, True), (66, 99, False), (67, 99, True), (67, 100, True), (66, 100, False)],
)
def test_a_quorum_is_strictly_more_than_two_thirds(seats: int, total: int, enough: bool):
    assert is_quorum(seats, total) is enough


@given(st.integers(1, 300), st.data())
def test_two_quorums_share_more_than_a_third(total: int, data: st.DataObject):
    one, other = data.draw(st.integers(0, total)), data.draw(st.integers(0, total))
    if is_quorum(one, total) and is_quorum(other, total):
        assert 3 * (one + other - total) > total


def test_epochs_are_runs_of_blocks():
    assert [PARAMS.epoch_of(height) for height in (1, 10, 11, 20, 21)] == [0, 0, 1, 1, 2]
    assert [PARAMS.last_height(epoch) for epoch in (0, 1)] == [10, 20]
    with pytest.raises(AssertionError, match="genesis is voted on by nobody"):
        PARAMS.epoch_of(0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epoch_length": 0}, "epoch_length must be positive"),
        ({"max_block_bytes": PARAMS.max_transaction_bytes}, "must hold a transaction"),
        ({"target_block_weight": 50_000}, "a proof may weigh 100080, a block only 100000"),
        ({"samples": 1025}, "samples is 1025, 6 to 1024 can be"),
        ({"samples": 1}, "samples is 1, 6 to 1024 can be"),
        (
            {"missed_proof_penalty": 1_001},
            "missed_proof_penalty is 1001: a bond of 1000 would cover no commit",
        ),
        ({"committee_size": 1025}, "committee_size is 1025, at most 1024"),
        ({"averaging_window": 8193}, "averaging_window is 8193, at most 8192"),
        ({"max_commons_units": 128}, "max_commons_units is 128, at most 127"),
    ],
)
def test_parameters_that_cannot_work_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        replace(PARAMS, **change)


def test_the_overhead_of_a_block_is_bounded():
    longest = {}
    for field in fields(Header):
        value = getattr(HEADER, field.name)
        longest[field.name] = value if isinstance(value, bytes) else (1 << 64) - 1
    longest |= {"version": (1 << 16) - 1, "chain_id": "x" * 32}
    assert len(encode(Block(Header(**longest), ()))) + 2 <= MAX_BLOCK_OVERHEAD


def test_reasons_are_unique_and_explained():
    assert len({reason.value for reason in Reason}) == len(Reason.__members__)
    for reason in Reason:
        assert reason.explanation.endswith("."), reason
        assert 0 <= reason < 1 << 16
