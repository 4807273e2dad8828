"""`headrace genesis`: what chains are made of."""

from pathlib import Path

import click

from genesis.document import GenesisDocument, GenesisError, from_json, read_genesis
from tools.amounts import coins
from tools.cli.errors import CliError
from tools.cli.options import Remote, remote_options
from tools.cli.output import emit, pairs


@click.command(epilog="Example: headrace genesis show genesis.json")
@click.argument("path", metavar="[FILE]", type=click.Path(path_type=Path), required=False)
@remote_options
def show(path: Path | None, url: str | None, testnet_dir: Path | None, *, as_json: bool) -> None:
    """Show what a chain is made of: from a genesis FILE, or without one from a node.

    The digest names the chain: two files with the same digest are the same chain.
    """
    document = (
        load_genesis(path)
        if path is not None
        else from_json(Remote.of(url, testnet_dir).call(str, "genesis"))
    )
    params = document.params
    shown = pairs(
        [
            ("digest", document.digest.hex()),
            ("chain", params.chain_id),
            ("prefix", params.address_prefix),
            ("timestamp", document.timestamp_ms),
            ("coins", coins(sum(balance.amount for balance in document.balances))),
            ("accounts", len(document.balances)),
            ("validators", f"{len(document.committee.validators)} with {document.committee.seats} seats"),
            ("epoch", f"{params.epoch_length} blocks of {params.block_interval_ms} ms or more"),
            ("commons model", document.commons_model.hex()),
        ]
    )
    summary = {
        "digest": document.digest.hex(),
        "chain_id": params.chain_id,
        "address_prefix": params.address_prefix,
        "timestamp_ms": document.timestamp_ms,
        "supply": sum(balance.amount for balance in document.balances),
        "accounts": len(document.balances),
        "validators": len(document.committee.validators),
        "seats": document.committee.seats,
        "models": [model.hex() for model in document.models],
        "commons_model": document.commons_model.hex(),
    }
    emit(summary, shown, as_json=as_json)


def load_genesis(path: Path) -> GenesisDocument:
    """Read a genesis file.

    Raises:
        CliError: It cannot be read, or is none.
    """
    try:
        return read_genesis(path)
    except (GenesisError, OSError) as error:
        raise CliError(
            f"{path} cannot be read: {error.strerror}" if isinstance(error, OSError) else str(error),
            code="BAD_GENESIS",
            next_step="take the file from whoever runs the chain, and compare digests",
        ) from None
