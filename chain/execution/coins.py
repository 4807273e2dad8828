"""Where coins are: every movement of one goes through here, so that none appears or vanishes.

Invariant: balances + bonds + locked payments = `Supply.total`, which stays below 2**64; so no balance can
overflow.
"""

from typing import Final

from chain.execution import state_keys
from chain.execution.invalid import Refused
from chain.execution.ledger import Ledger
from chain.execution.records import Account, Supply
from chain.reasons import Reason

MAX_SUPPLY: Final = (1 << 64) - 1
_EMPTY: Final = Account(0, 0)


def account(ledger: Ledger, key: bytes) -> Account:
    """An account; one that nobody has used is empty."""
    return ledger.find(Account, state_keys.account(key)) or _EMPTY


def credit(ledger: Ledger, key: bytes, amount: int) -> None:
    """Put coins into an account."""
    if amount:
        old = account(ledger, key)
        ledger.put(state_keys.account(key), Account(old.balance + amount, old.nonce))


def debit(ledger: Ledger, key: bytes, amount: int) -> None:
    """Take coins that the account is known to have."""
    old = account(ledger, key)
    assert old.balance >= amount, f"account {key.hex()} has {old.balance}, {amount} were to be taken"
    ledger.put(state_keys.account(key), Account(old.balance - amount, old.nonce))


def require(ledger: Ledger, key: bytes, amount: int) -> None:
    """Check that an account holds ``amount``.

    Raises:
        Refused: INSUFFICIENT_FUNDS.
    """
    balance = account(ledger, key).balance
    if balance < amount:
        raise Refused(
            Reason.INSUFFICIENT_FUNDS, f"the sender has {balance} after the fee, {amount} are needed"
        )


def burn(ledger: Ledger, amount: int) -> None:
    """Count coins, taken from somewhere before, as destroyed."""
    if amount:
        supply = ledger.get(Supply, state_keys.SUPPLY)
        ledger.put(state_keys.SUPPLY, Supply(supply.genesis, supply.minted, supply.burned + amount))


def mint(ledger: Ledger, key: bytes, amount: int) -> int:
    """Create coins in an account, as many of ``amount`` as the supply has room for; returns how many."""
    supply = ledger.get(Supply, state_keys.SUPPLY)
    amount = min(amount, MAX_SUPPLY - supply.total)
    if amount:
        ledger.put(state_keys.SUPPLY, Supply(supply.genesis, supply.minted + amount, supply.burned))
        credit(ledger, key, amount)
    return amount
