"""What may be in a block, what a transaction pays, and how a proposer fills a block."""

from dataclasses import replace

import pytest

from chain.codec import encode
from chain.crypto.ed25519 import SecretKey
from chain.execution.block import draft_block, execute_block
from chain.execution.invalid import BlockReason, InvalidBlock
from chain.reasons import Reason
from chain.types.transaction import SignedTransaction, SubmitTask, Transfer, Unregister, sign_transaction
from tests.chain.execution.world import COINS, MODEL, MODELS, PARAMS, World, key

BOB = key("bob").public_key


def len_of(signed: SignedTransaction) -> int:
    return len(encode(signed))


def cause_of(world: World, *transactions) -> Reason | None:
    with pytest.raises(InvalidBlock) as caught:
        world.block(*transactions)
    assert caught.value.reason is BlockReason.BAD_TRANSACTION
    return caught.value.cause


@pytest.mark.parametrize(
    ("fields", "cause"),
    [
        ({"nonce": 1}, Reason.NONCE_TOO_HIGH),
        ({"chain_id": "tesu"}, Reason.WRONG_CHAIN),
        ({"max_base_fee": 0}, Reason.FEE_TOO_LOW),
        ({"tip": COINS}, Reason.INSUFFICIENT_FUNDS),
    ],
)
def test_a_block_with_an_unpayable_transaction_is_invalid(fields, cause):
    world = World()
    assert cause_of(world, world.sign("alice", Transfer(BOB, 1), **fields)) is cause


def test_a_used_nonce_makes_the_block_invalid():
    world = World()
    signed = world.sign("alice", Transfer(BOB, 1))
    world.block(signed)
    assert cause_of(world, signed) is Reason.NONCE_TOO_LOW
    assert cause_of(world, *[world.sign("alice", Transfer(BOB, 1))] * 2) is Reason.NONCE_TOO_LOW


def test_a_false_signature_makes_the_block_invalid():
    world = World()
    signed = world.sign("alice", Transfer(BOB, 1))
    assert cause_of(world, replace(signed, signature=bytes(64))) is Reason.BAD_SIGNATURE


def test_a_stranger_without_coins_cannot_be_in_a_block():
    assert cause_of(World(), World().sign("mallory", Transfer(BOB, 0))) is Reason.INSUFFICIENT_FUNDS


def test_a_transaction_over_the_limit_makes_the_block_invalid():
    world = World()
    limit = PARAMS.max_transaction_bytes
    body = SubmitTask(MODEL, 1, bytes(limit - 200), 1)
    size = len_of(world.sign("alice", body))
    fits = replace(body, inputs=bytes(limit - 200 + limit - size))
    assert len_of(world.sign("alice", fits)) == limit
    over = replace(fits, inputs=fits.inputs + b"\x00")
    assert cause_of(world, world.sign("alice", over)) is Reason.TOO_LARGE
    world.block(world.sign("alice", fits))
    assert world.receipt.reason is Reason.TASK_BAD_INPUT


def test_the_message_names_the_transaction_and_both_values():
    world = World()
    signed = [world.sign("alice", Transfer(BOB, 1)), world.sign("bob", Transfer(BOB, 1), nonce=5)]
    with pytest.raises(InvalidBlock, match="bad_transaction: transaction 1: nonce 5, due is 0"):
        world.block(*signed)


def test_bytes_and_weight_are_bounded():
    world = World()
    body = SubmitTask(MODEL, 1, bytes(90_000), 1)
    many = [world.sign("alice", body, ahead=i) for i in range(5)]
    with pytest.raises(InvalidBlock) as caught:
        world.block(*many)
    assert caught.value.reason is BlockReason.TOO_MANY_BYTES
    tight = replace(PARAMS, max_block_bytes=1_000_000, target_block_weight=120_000)
    with pytest.raises(InvalidBlock) as caught:
        execute_block(world.state, world.context(), many, params=tight, models=MODELS)
    assert caught.value.reason is BlockReason.TOO_MUCH_WEIGHT


def test_the_number_of_transactions_is_bounded(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("chain.execution.block.MAX_TRANSACTIONS", 2)
    world = World()
    many = [world.sign("alice", Transfer(BOB, 1), ahead=i) for i in range(3)]
    with pytest.raises(InvalidBlock, match="too_many_transactions: 3 transactions, at most 2"):
        world.block(*many)
    draft = draft_block(world.state, world.context(), many, params=PARAMS, models=MODELS)
    assert draft.transactions == tuple(many[:2])


def test_a_failing_body_costs_the_fee_and_nothing_else():
    world = World()
    receipt = world.do("alice", Transfer(BOB, COINS))
    assert receipt.reason is Reason.INSUFFICIENT_FUNDS
    assert (
        receipt.events[0].detail == f"the sender has {COINS - receipt.fee} after the fee, {COINS} are needed"
    )
    assert (world.balance("alice"), world.balance("bob")) == (COINS - receipt.fee, COINS)
    assert world.nonce("alice") == 1


def test_the_whole_balance_can_be_sent():
    world = World()
    fee = len_of(world.sign("alice", Transfer(BOB, COINS)))
    assert world.do("alice", Transfer(BOB, COINS - fee)).reason is Reason.OK
    assert world.balance("alice") == 0


def test_a_transfer_to_oneself_changes_only_the_fee():
    world = World()
    receipt = world.do("bob", Transfer(BOB, COINS // 2))
    assert receipt.reason is Reason.OK
    assert world.balance("bob") == COINS - receipt.fee


def test_base_fees_are_burned_and_tips_paid_once_a_block():
    world = World()
    world.block(
        world.sign("alice", Transfer(BOB, 1), tip=3),
        world.sign("bob", Transfer(BOB, 1), tip=5),
    )
    one, other = world.outcome.receipts
    closing = {event.reason: event for event in world.outcome.closing}
    assert closing[Reason.FEE_BURNED].amount == one.weight + other.weight
    assert closing[Reason.TIP_PAID].amount == 3 * one.weight + 5 * other.weight
    assert closing[Reason.TIP_PAID].subject == key("payout").public_key
    assert world.balance("payout") == closing[Reason.TIP_PAID].amount


def test_the_next_base_fee_is_in_the_state():
    world = World()
    for expected in (2, 3):
        world.block(*[world.sign("alice", SubmitTask(MODEL, 1, bytes(90_000), 1), ahead=i) for i in range(3)])
        assert world.head.next_base_fee == expected
    world.blocks(5)
    assert world.head.next_base_fee == 1


def test_a_draft_takes_what_can_be_in_a_block_and_says_what_cannot():
    world = World()
    good = world.sign("alice", Transfer(BOB, 1))
    after = world.sign("alice", Transfer(BOB, 2), ahead=1)
    gap = world.sign("bob", Transfer(BOB, 1), nonce=4)
    false = replace(world.sign("carol", Transfer(BOB, 1)), signature=bytes(64))
    draft = draft_block(
        world.state, world.context(), [gap, good, false, after, good], params=PARAMS, models=MODELS
    )
    assert draft.transactions == (good, after)
    assert draft.left_out == {
        gap.id: Reason.NONCE_TOO_HIGH, false.id: Reason.BAD_SIGNATURE, good.id: Reason.NONCE_TOO_LOW,
    }  # fmt: skip
    again = world.block(*draft.transactions)
    assert (again.state.root, again.outcome) == (draft.execution.state.root, draft.execution.outcome)


def test_a_draft_passes_over_what_does_not_fit():
    world = World()
    large = [
        world.sign(name, SubmitTask(MODEL, 1, bytes(95_000), 1))
        for name in ("alice", "bob", "carol", "dave", "erin")
    ]
    small = world.sign("alice", Unregister(), ahead=1)
    draft = draft_block(world.state, world.context(), [*large, small], params=PARAMS, models=MODELS)
    assert draft.transactions == (*large[:4], small)
    assert draft.left_out == {}


def test_a_verified_signature_is_not_verified_again():
    world = World()
    asked = []
    signed = replace(world.sign("alice", Transfer(BOB, 1)), signature=bytes(64))
    execute_block(
        world.state, world.context(), [signed], params=PARAMS, models=MODELS,
        is_authentic=lambda item: bool(asked.append(item)) or True,
    )  # fmt: skip
    assert asked == [signed]


def test_executing_twice_gives_the_same_and_changes_nothing():
    world = World()
    before = world.state.root
    transactions = [world.sign("alice", Transfer(BOB, 1)), world.sign("bob", Unregister())]
    runs = [
        execute_block(world.state, world.context(), transactions, params=PARAMS, models=MODELS)
        for _ in range(2)
    ]
    assert runs[0].state.root == runs[1].state.root
    assert runs[0].outcome == runs[1].outcome
    assert world.state.root == before
    assert world.state.updated(runs[0].changes).root == runs[0].state.root


def test_a_context_that_does_not_fit_the_state_is_our_own_mistake():
    world = World()
    for fields in ({"height": 2}, {"parent_beacon": bytes(32)}, {"base_fee": 2}, {"epoch": 1}):
        with pytest.raises(AssertionError):
            world.block(**fields)


def test_a_sender_is_who_signed():
    other = SecretKey(bytes(32))
    signed = World().sign("alice", Transfer(BOB, 1))
    with pytest.raises(AssertionError, match="the key is not the sender's"):
        sign_transaction(signed.transaction, other)
