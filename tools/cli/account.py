"""`headrace balance`: an account's coins."""

from pathlib import Path

import click

from tools.amounts import coins
from tools.cli.options import Remote, remote_options
from tools.cli.output import emit, pairs
from tools.rpc import wire
from tools.rpc.messages import AccountView


@click.command(epilog="Example: headrace balance hrl1...")
@click.argument("address")
@remote_options
def balance(address: str, url: str | None, testnet_dir: Path | None, *, as_json: bool) -> None:
    """Show an account's coins and its next nonce.

    With --testnet, ADDRESS may be an account's name.
    """
    remote = Remote.of(url, testnet_dir)
    address = remote.address(address)
    found = remote.call(AccountView, "account", address=address)
    document = wire.write(AccountView, found, prefix=remote.prefix)
    shown = pairs(
        [
            ("address", address),
            ("balance", f"{coins(found.balance)} coins ({found.balance} base units)"),
            ("next nonce", found.next_nonce),
            ("at height", found.height),
        ]
    )
    emit(document, shown, as_json=as_json)
