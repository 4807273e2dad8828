"""`headrace key`: key files."""

import os
from pathlib import Path
from typing import Any

import click

from chain.address import encode_address
from chain.crypto.ed25519 import SecretKey
from chain.crypto.keystore import (
    ENTROPY_BYTES,
    KdfStrength,
    KeyHeader,
    KeyRole,
    KeystoreError,
    read_key_header,
    write_key_file,
)
from tools.cli.errors import CliError
from tools.cli.options import json_option, password_option
from tools.cli.output import emit, pairs, table
from tools.cli.secrets import keystore_failure, read_password

_ROLES = [role.value for role in KeyRole]
_STRENGTHS = [kdf.name.lower() for kdf in KdfStrength]
prefix_option = click.option("--prefix", default="hrl", show_default=True, help="The chain's address prefix.")


@click.command(epilog="Example: headrace key new --role miner --out ~/.headrace/miner.json")
@click.option("--out", "path", type=click.Path(path_type=Path), required=True, help="File to make.")
@click.option(
    "--role", type=click.Choice(_ROLES), default="account", show_default=True, help="What the key is for."
)
@click.option(
    "--kdf", type=click.Choice(_STRENGTHS), default="moderate", show_default=True,
    help="What one guess at the password costs: light 1 ms (testnets only), moderate 0.5 s, sensitive 3 s.",
)  # fmt: skip
@prefix_option
@password_option
@json_option
def new(path: Path, role: str, kdf: str, prefix: str, password_file: Path | None, *, as_json: bool) -> None:
    """Make a new key file, encrypted under a password.

    Nobody can bring a lost password back. An existing file is never overwritten.
    """
    password = read_password(password_file, "Password for the new key", confirm=True)
    try:
        header = write_key_file(
            path, SecretKey.generate(os.urandom(32)), role=KeyRole(role), password=password,
            kdf=KdfStrength[kdf.upper()], entropy=os.urandom(ENTROPY_BYTES),
        )  # fmt: skip
    except KeystoreError as error:
        raise keystore_failure(error) from None
    document = describe(path, header, prefix)
    emit(document, pairs(document.items()), as_json=as_json)


@click.command(epilog="Example: headrace key show ~/.headrace/miner.json")
@click.argument("path", type=click.Path(path_type=Path))
@prefix_option
@json_option
def show(path: Path, prefix: str, *, as_json: bool) -> None:
    """Show a key file's role, address and public key; needs no password and shows no secret."""
    try:
        document = describe(path, read_key_header(path), prefix)
    except KeystoreError as error:
        raise keystore_failure(error) from None
    emit(document, pairs(document.items()), as_json=as_json)


@click.command("list", epilog="Example: headrace key list ~/.headrace")
@click.argument("folder", type=click.Path(path_type=Path), default=Path())
@prefix_option
@json_option
def list_keys(folder: Path, prefix: str, *, as_json: bool) -> None:
    """List the key files in a folder; other files are passed over."""
    if not folder.is_dir():
        raise CliError(
            f"{folder} is no folder", code="NO_FOLDER", next_step="name the folder of the key files"
        )
    found = []
    for path in sorted(folder.glob("*.json")):
        try:
            found.append(describe(path, read_key_header(path), prefix))
        except KeystoreError:
            continue  # not a key file, or not ours to read: a list shows what can be used
    rows = [(item["role"], item["address"], item["file"]) for item in found]
    emit({"keys": found}, table(("role", "address", "file"), rows), as_json=as_json)


def describe(path: Path, header: KeyHeader, prefix: str) -> dict[str, Any]:
    """What anybody may know of a key file."""
    try:
        address = encode_address(header.public_key, prefix=prefix)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--prefix") from None
    return {
        "file": str(path),
        "role": header.role.value,
        "address": address,
        "public_key": header.public_key.hex(),
        "id": header.id,
    }
