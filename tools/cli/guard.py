"""`headrace guard`: the log of what a consensus key signed."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import click

from chain.crypto.keystore import KeyRole, KeystoreError, read_key_header
from consensus.signing.disk import FileDisk
from consensus.signing.guard_transfer import (
    MarksError,
    export_marks,
    import_marks,
    marks_from_json,
    marks_to_json,
)
from consensus.signing.signing_guard import GuardError, GuardReason, open_log
from tools.cli.errors import CliError, Exit
from tools.cli.genesis import load_genesis
from tools.cli.options import json_option
from tools.cli.output import emit, pairs
from tools.cli.secrets import keystore_failure
from tools.node.signing import log_path, make_log

NEXT: Final = {
    GuardReason.LOG_MISSING: "make one only if the key never signed on this chain, else import its marks",
    GuardReason.LOG_EXISTS: "nothing to do: the key has its log",
    GuardReason.LOG_IN_USE: "stop the node that runs with this key first",
    GuardReason.WRONG_OWNER: "name the key and the genesis file that belong together",
    GuardReason.LOG_CORRUPT: "retire the key: make another, and register it",
}
"""What to do about each reason."""

key_option = click.option(
    "--key", "key_file", type=click.Path(path_type=Path), required=True, help="The consensus key file."
)
genesis_option = click.option(
    "--genesis",
    "genesis_file",
    type=click.Path(path_type=Path),
    required=True,
    help="The chain's genesis file.",
)


@click.command(epilog="Example: headrace guard create --key keys/consensus.json --genesis genesis.json")
@key_option
@genesis_option
@json_option
def create(key_file: Path, genesis_file: Path, *, as_json: bool) -> None:
    """Make the signing log of a consensus key that never signed on this chain.

    `headrace node init --validator` does it for the key that it makes. A node with a key and without its log
    refuses to start: without the log the key could contradict itself, which burns the bond.
    """
    public_key, chain_id = _owner(key_file, genesis_file)
    with _explained():
        path = make_log(key_file, chain_id=chain_id, public_key=public_key)
    document = {"log": str(path), "public_key": public_key.hex(), "chain_id": chain_id}
    emit(document, pairs(document.items()), as_json=as_json)


@click.command(
    "export",
    epilog="Example: headrace guard export --key keys/consensus.json --genesis genesis.json --out marks.json",
)
@key_option
@genesis_option
@click.option("--out", type=click.Path(path_type=Path), required=True, help="File to write.")
@json_option
def export_log(key_file: Path, genesis_file: Path, out: Path, *, as_json: bool) -> None:
    """Write down the highest views that a key may have signed in, to take it to another machine.

    The node must be stopped, and must never be started with this key again.
    """
    public_key, chain_id = _owner(key_file, genesis_file)
    with _explained():
        guard = open_log(FileDisk(log_path(key_file)), chain_id=chain_id, public_key=public_key)
        marks = export_marks(guard, chain_id=chain_id, public_key=public_key)
        guard.close()
    document = marks_to_json(marks)
    try:
        with os.fdopen(os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            json.dump(document, file, indent=2)
            file.write("\n")
    except OSError as error:
        raise CliError(f"{out}: {error.strerror}", code="IO", next_step="name a new file") from None
    lines = [
        f"wrote {out}",
        "now: import it on the other machine, and never start this one's node with the key",
    ]
    emit(document, lines, as_json=as_json)


@click.command(
    "import",
    epilog="Example: headrace guard import marks.json --key keys/consensus.json --genesis genesis.json",
)
@click.argument("file", type=click.Path(path_type=Path))
@key_option
@genesis_option
@json_option
def import_log(file: Path, key_file: Path, genesis_file: Path, *, as_json: bool) -> None:
    """Take in what `headrace guard export` wrote: nothing that it covers is signed here.

    Makes the log if there is none. Of two logs the higher marks count, so importing twice changes nothing.
    The node must be stopped; at its first start it watches for the key's own votes before it signs.
    """
    public_key, chain_id = _owner(key_file, genesis_file)
    try:
        marks = marks_from_json(file.read_bytes())
    except (MarksError, OSError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise CliError(
            f"{file}: {why}", code="BAD_MARKS", next_step="name a file of `headrace guard export`"
        ) from None
    with _explained():
        guard = import_marks(FileDisk(log_path(key_file)), marks, chain_id=chain_id, public_key=public_key)
        epoch, view = guard.watermark
        guard.close()
    document = {"log": str(log_path(key_file)), "watermark": {"epoch": str(epoch), "view": str(view)}}
    emit(document, [f"nothing is signed below epoch {epoch} view {view}"], as_json=as_json)


def _owner(key_file: Path, genesis_file: Path) -> tuple[bytes, str]:
    """Public key and chain, without a password."""
    try:
        header = read_key_header(key_file)
    except KeystoreError as error:
        raise keystore_failure(error) from None
    if header.role is not KeyRole.CONSENSUS:
        raise CliError(
            f"{key_file} is a key of role {header.role.value}", code="WRONG_ROLE",
            next_step="name the node's consensus key", exit_code=Exit.REFUSED,
        )  # fmt: skip
    return header.public_key, load_genesis(genesis_file).params.chain_id


@contextmanager
def _explained() -> Iterator[Any]:
    try:
        yield
    except GuardError as error:
        raise CliError(
            str(error), code=error.reason.name, next_step=NEXT.get(error.reason, "see the message"),
            exit_code=Exit.REFUSED,
        ) from None  # fmt: skip
    except OSError as error:
        raise CliError(
            f"the signing log: {error.strerror}", code="IO", next_step="check the disk and its permissions"
        ) from None
