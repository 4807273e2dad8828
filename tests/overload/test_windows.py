"""What a peer offers next, and again: no nonce is ever lost."""

from chain.types.transaction import SignedTransaction
from tests.overload.accounts import load_keys
from tests.overload.windows import Windows


def windows(accounts: int, width: int) -> Windows:
    return Windows(load_keys(accounts), [0] * accounts, chain_id="test", width=width)


def nonces(transactions: list[SignedTransaction]) -> list[int]:
    return [signed.transaction.nonce for signed in transactions]


def test_accounts_take_turns_up_to_their_width():
    some = windows(2, width=2)
    assert nonces(some.fresh(3, now=0.0)) == [0, 0, 1]
    assert nonces(some.fresh(9, now=0.0)) == [1]
    assert some.fresh(9, now=0.0) == []
    assert some.waiting == 4


def test_what_landed_makes_room_and_is_old_from_then_on():
    some = windows(1, width=2)
    sent = some.fresh(2, now=0.0)
    assert some.old(9) == []
    assert some.landed(sent[:1], now=1.0) == 1
    assert some.waiting == 1
    assert nonces(some.fresh(9, now=1.0)) == [2]
    assert some.old(9) == sent[:1]


def test_what_was_dropped_is_offered_again_before_anything_later():
    """A harness that counted on would never land anything of an account after its first lost frame."""
    some = windows(1, width=3)
    sent = some.fresh(3, now=0.0)
    some.again(9.0, patience=10)
    assert some.fresh(3, now=9.0) == []
    some.again(10.0, patience=10)
    assert some.fresh(3, now=10.0) == sent


def test_an_account_that_moves_is_left_alone():
    some = windows(1, width=3)
    sent = some.fresh(3, now=0.0)
    some.landed(sent[:1], now=9.0)
    some.again(10.0, patience=10)
    assert nonces(some.fresh(3, now=10.0)) == [3]


def test_what_landed_after_all_is_not_offered_again():
    some = windows(1, width=3)
    sent = some.fresh(3, now=0.0)
    some.again(10.0, patience=10)
    some.landed(sent[:2], now=11.0)
    assert nonces(some.fresh(9, now=11.0)) == [2, 3, 4]


def test_transactions_of_others_are_not_counted():
    some, others = windows(1, width=1), Windows(load_keys(2)[1:], [0], chain_id="test", width=1)
    assert some.landed(others.fresh(1, now=0.0), now=1.0) == 0


def test_old_ones_take_turns():
    some = windows(1, width=3)
    sent = some.fresh(3, now=0.0)
    some.landed(sent, now=1.0)
    offered = [*some.old(1), *some.old(1), *some.old(1)]
    assert sorted(nonces(offered)) == [0, 1, 2]
