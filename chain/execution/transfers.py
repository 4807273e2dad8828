"""Coins from one account to another."""

from chain.execution import coins
from chain.execution.run import Run
from chain.reasons import Reason
from chain.types.transaction import Transfer


def transfer(run: Run, sender: bytes, body: Transfer) -> None:
    """Move coins.

    Raises:
        Refused: INSUFFICIENT_FUNDS.
    """
    coins.require(run.ledger, sender, body.amount)
    coins.debit(run.ledger, sender, body.amount)
    coins.credit(run.ledger, body.to, body.amount)
    run.emit(Reason.TRANSFERRED, sender, other=body.to, amount=body.amount)
