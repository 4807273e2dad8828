"""`headrace tx send`: coins from one account to another."""

from pathlib import Path

import click

from chain.address import decode_address
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


@click.command(epilog="Example: headrace tx send --testnet ./testnet --key alice --to bob --amount 1.5")
@key_option
@click.option(
    "--to",
    "receiver",
    required=True,
    metavar="ADDRESS",
    help="Who gets the coins; with --testnet also an account's name.",
)
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
    if not amount:
        raise click.BadParameter("nothing would be sent", param_hint="--amount")
    receiver = remote.address(receiver, "--to")
    to = decode_address(receiver, prefix=remote.prefix)
    secret = KeyChoice.of(key_name, password_file, remote.testnet).open(KeyRole.ACCOUNT, KeyRole.MINER)
    signed = submit_body(remote, secret, Transfer(to, amount), fees)
    document = {"id": signed.id.hex(), "nonce": signed.transaction.nonce, "amount": amount, "to": receiver}
    final = wait_until_final(remote, signed.id, quiet=as_json) if wait else None
    if final is not None:
        document |= {"height": final.height, "fee": final.fee}
    shown = document | {"amount": f"{coins(amount)} coins"}
    if final is not None:
        shown["fee"] = f"{coins(final.fee)} coins"
    state = "handed in; follow it" if final is None else "final; its story"
    emit(
        document,
        [*pairs(shown.items()), f"{state}: headrace why {signed.id.hex()}{remote.flags}"],
        as_json=as_json,
    )
