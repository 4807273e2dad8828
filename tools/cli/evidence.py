"""`headrace evidence`: who contradicted itself."""

from pathlib import Path

import click

from chain.address import encode_address
from tools.amounts import coins
from tools.cli.options import Remote, remote_options
from tools.cli.output import emit
from tools.rpc import wire
from tools.rpc.messages import ConvictionView


@click.command(epilog="Example: headrace evidence --testnet ./testnet")
@remote_options
def evidence(url: str | None, testnet_dir: Path | None, *, as_json: bool) -> None:
    """List the consensus keys that were convicted of contradicting themselves, newest first.

    Each signed two statements of one view that no honest validator signs both of. Its bond is burned, its
    seats end with the epoch, and the key never counts again. `headrace why KEY` tells one key's story.
    """
    remote = Remote.of(url, testnet_dir)
    found = remote.call(tuple[ConvictionView, ...], "evidence")
    lines = [line for item in found for line in _tell(item, prefix=remote.prefix)]
    emit(
        {"convictions": wire.write(tuple[ConvictionView, ...], found, prefix=remote.prefix)},
        lines or ["no consensus key was ever convicted"],
        as_json=as_json,
    )


def _tell(item: ConvictionView, *, prefix: str) -> list[str]:
    owner = "no miner" if item.miner is None else f"miner {encode_address(item.miner, prefix=prefix)}"
    kept = f"; {item.seats} seats until the epoch ends" if item.seats else ""
    statements = f"{item.first} and {item.second}" if item.first else f"see transaction {item.report.hex()}"
    return [
        f"consensus key {item.consensus_key.hex()}, {owner}",
        f"  convicted at height {item.height}, {coins(item.burned)} coins burned{kept}",
        f"  epoch {item.epoch}, view {item.view}: {statements}",
    ]
