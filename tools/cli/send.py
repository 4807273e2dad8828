"""`headrace tx send`: coins from one account to another."""

from pathlib import Path

import click

from chain.address import AddressError, decode_address
from chain.crypto.keystore import KeyRole
from chain.types.transaction import Transfer
from tools.amounts import coins
from tools.cli.options import Amount, Remote, password_option, remote_options
from tools.cli.output import emit, pairs
from tools.cli.secrets import KeyChoice
from tools.cli.submission import Fees, fee_options, submit_body, wait_until_final

key_option = click.option(
    "--key", "key_name", metavar="FILE", help="Sender's key file; with --testnet also an account's name."
)


@click.command(epilog="Example: headrace tx send --testnet ./testnet --key alice --to hrl1... --amount 1.5")
@key_option
@click.option("--to", "receiver", required=True, metavar="ADDRESS", help="Who gets the coins.")
@click.option("--amount", type=Amount(), required=True, help="Coins, with up to six decimals.")
@click.option("--wait", is_flag=True, help="Return when the transaction is final.")
@fee_options
@password_option
@remote_options
def send(
    key_name: str | None,
    receiver: str,
    amount: int,
    fees: Fees,
    password_file: Path | None,
    url: str | None,
    testnet_dir: Path | None,
    *,
    wait: bool,
    as_json: bool,
) -> None:
    """Send coins to an address."""
    remote = Remote.of(url, testnet_dir)
    to = address_of(receiver, prefix=remote.prefix)
    secret = KeyChoice.of(key_name, password_file, remote.testnet).open(KeyRole.ACCOUNT, KeyRole.MINER)
    signed = submit_body(remote, secret, Transfer(to, amount), fees)
    document = {"id": signed.id.hex(), "nonce": signed.transaction.nonce, "amount": amount, "to": receiver}
    if wait:
        final = wait_until_final(remote, signed.id, quiet=as_json)
        document |= {"height": final.height, "fee": final.fee}
    lines = [
        *pairs(document.items()),
        f"sent {coins(amount)} coins; follow it: headrace why {signed.id.hex()}",
    ]
    emit(document, lines, as_json=as_json)


def address_of(text: str, *, prefix: str) -> bytes:
    """The key behind an address.

    Raises:
        click.BadParameter: It is no address of this chain.
    """
    try:
        return decode_address(text, prefix=prefix)
    except AddressError as error:
        raise click.BadParameter(str(error), param_hint="ADDRESS") from None
