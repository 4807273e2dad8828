"""`headrace proof`: a balance that a stranger can check."""

import json
from dataclasses import asdict
from pathlib import Path

import click

from tools.amounts import coins
from tools.balance_proof import MAX_FILE_BYTES, BalanceProof, ProofInvalid, parse_proof, verify_balance
from tools.cli.errors import CliError, Exit
from tools.cli.genesis import load_genesis
from tools.cli.options import Remote, json_option, remote_options
from tools.cli.output import emit, pairs
from tools.rpc import wire


@click.command(epilog="Example: headrace proof balance hrl1... --out proof.json")
@click.argument("address")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="File to write.")
@remote_options
def balance(address: str, out: Path, url: str | None, testnet_dir: Path | None, *, as_json: bool) -> None:
    """Write the proof of an account's balance at the last final block to a file."""
    remote = Remote.of(url, testnet_dir)
    found = remote.call(BalanceProof, "prove_balance", address=remote.address(address))
    text = json.dumps(wire.write(BalanceProof, found, prefix=remote.prefix))
    try:
        with out.open("x", encoding="utf-8") as file:
            file.write(text + "\n")
    except FileExistsError:
        raise CliError(
            f"{out} exists", code="EXISTS", next_step="choose another path", exit_code=Exit.REFUSED
        ) from None
    except OSError as error:
        raise CliError(
            f"{out} cannot be written: {error.strerror}", code="IO", next_step="check the folder"
        ) from None
    document = {"file": str(out), "bytes": len(text) + 1}
    lines = [
        f"wrote {out}, {len(text) + 1} bytes",
        f"anybody can check it: headrace proof verify {out} --genesis FILE",
    ]
    emit(document, lines, as_json=as_json)


@click.command(epilog="Example: headrace proof verify proof.json --genesis genesis.json")
@click.argument("path", metavar="FILE", type=click.Path(path_type=Path))
@click.option(
    "--genesis",
    "genesis_file",
    type=click.Path(path_type=Path),
    required=True,
    help="The chain's genesis file.",
)
@json_option
def verify(path: Path, genesis_file: Path, *, as_json: bool) -> None:
    """Check a balance proof offline: no node, no network, nothing to trust but the genesis file."""
    document = load_genesis(genesis_file)
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise ProofInvalid("NOT_A_PROOF", f"{path} is larger than {MAX_FILE_BYTES} bytes")
        proven = verify_balance(parse_proof(path.read_text(encoding="utf-8")), document)
    except ProofInvalid as error:
        advice = (
            "check it against the genesis file of its chain: `headrace genesis show FILE` prints the digest"
            if error.code == "WRONG_GENESIS"
            else "do not trust it; ask for another"
        )
        raise CliError(f"the proof does not hold: {error}", code=error.code, next_step=advice) from None
    except (OSError, UnicodeDecodeError) as error:
        told = error.strerror if isinstance(error, OSError) else "it is not text"
        raise CliError(f"{path} cannot be read: {told}", code="IO", next_step="check the path") from None
    shown = pairs(
        [
            ("proven", "yes, from the genesis file alone"),
            ("address", proven.address),
            (
                "balance",
                f"{coins(proven.balance)} coins" if proven.exists else "none: the account was never used",
            ),
            ("at height", proven.height),
            ("block", proven.block.hex()),
            ("committees", f"{proven.epochs}, each put in place by the one before"),
        ]
    )
    emit(asdict(proven) | {"block": proven.block.hex()}, shown, as_json=as_json)
