"""From a transaction's body to a final transaction."""

import functools
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import click

from chain.address import encode_address
from chain.codec import encode
from chain.crypto.ed25519 import SecretKey
from chain.reasons import Reason
from chain.types.params import ChainParams
from chain.types.transaction import Body, SignedTransaction, Transaction, sign_transaction
from tools.cli.errors import CliError
from tools.cli.options import Remote
from tools.rpc.messages import AccountView, Sent, Status, TransactionView

WAIT_SECONDS: Final = 60.0
POLL_SECONDS: Final = 0.25

_F = TypeVar("_F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Fees:
    """What a sender is willing to pay, and in which order."""

    max_base_fee: int | None
    """Per unit of weight; None for twice the one in force."""
    tip: int
    nonce: int | None
    """None for the account's next one."""


def fee_options(command: _F) -> _F:
    """`--max-base-fee`, `--tip` and `--nonce`, as one `Fees`."""

    @functools.wraps(command)
    def wrapped(
        *arguments: Any, max_base_fee: int | None, tip: int, nonce: int | None, **options: Any
    ) -> None:
        command(*arguments, fees=Fees(max_base_fee, tip, nonce), **options)

    fee = click.IntRange(0, (1 << 64) - 1)
    for option in (
        click.option("--nonce", type=fee, help="Number of the transaction.  [default: the account's next]"),
        click.option(
            "--tip", type=fee, default=0, show_default=True, help="Base units per weight for the proposer."
        ),
        click.option(
            "--max-base-fee", type=fee, help="Highest base fee to accept.  [default: twice today's]"
        ),
    ):
        wrapped = option(wrapped)
    return wrapped  # type: ignore[return-value]  # click reads the options off the wrapper


def submit_body(
    remote: Remote, secret: SecretKey, body: Body, fees: Fees, *, ahead: int = 0
) -> SignedTransaction:
    """Sign a body with the account's next nonce and hand it to the node.

    Args:
        remote: The node.
        secret: Of the account.
        body: What to do.
        fees: May name the nonce.
        ahead: Nonces to leave free before it for somebody else who sends with this account.

    Raises:
        CliError: The node does not answer, or refuses it.
    """
    params = remote.call(ChainParams, "params")
    status = remote.call(Status, "status")
    address = encode_address(secret.public_key, prefix=remote.prefix)
    nonce = fees.nonce
    if nonce is None:
        nonce = remote.call(AccountView, "account", address=address).next_nonce + ahead
    highest = (
        2 * max(status.base_fee, params.base_fee_floor) if fees.max_base_fee is None else fees.max_base_fee
    )
    transaction = Transaction(params.chain_id, secret.public_key, nonce, highest, fees.tip, body)
    signed = sign_transaction(transaction, secret)
    remote.call(Sent, "send_transaction", encoded=encode(signed).hex())
    return signed


def wait_until_final(remote: Remote, transaction: bytes, *, quiet: bool) -> TransactionView:
    """Wait until a transaction is in a final block, and did what it asked for.

    Raises:
        CliError: It was refused on the ledger, or is not final in a minute.
    """
    deadline = time.monotonic() + WAIT_SECONDS
    if not quiet:
        click.echo("waiting for the block ...", err=True)
    while True:
        view = remote.call(TransactionView, "transaction", id=transaction.hex())
        if view.final:
            break
        if time.monotonic() > deadline:
            raise CliError(
                f"transaction {transaction.hex()} is not final after {WAIT_SECONDS:.0f} s",
                code="STILL_WAITING",
                next_step=f"it may still be: `headrace why {transaction.hex()}`, `headrace status`",
            )
        time.sleep(POLL_SECONDS)
    if view.reason is not Reason.OK:
        raise CliError(
            f"transaction {transaction.hex()} took the fee and nothing else: {view.explanation}",
            code=view.reason.name if view.reason is not None else "UNKNOWN",
            next_step=f"`headrace why {transaction.hex()}`",
        )
    return view
