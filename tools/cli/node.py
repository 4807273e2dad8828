"""`headrace node`: run a node."""

import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from p2p.files import write_whole
from tools.cli.errors import CliError, Exit
from tools.cli.options import json_option, password_option
from tools.cli.output import emit, table

if TYPE_CHECKING:
    from chain.crypto.keystore import KeyRole
    from genesis.document import GenesisDocument

CONFIG_NAME: Final = "config.toml"

home_option = click.option(
    "--home", type=click.Path(path_type=Path, file_okay=False), default=Path("headrace-node"),
    show_default=True, help="Folder of the node: configuration, keys, data.",
)  # fmt: skip


@click.command(epilog="Example: headrace node init --home ~/headrace --genesis genesis.json --validator")
@home_option
@click.option(
    "--genesis",
    "genesis_file",
    type=click.Path(path_type=Path),
    required=True,
    help="The chain's genesis file.",
)
@click.option("--moniker", default="node", show_default=True, help="Name in logs and status pages.")
@click.option(
    "--validator", is_flag=True, help="Make a consensus key: the node votes once work has earned it seats."
)
@click.option(
    "--bootstrap", multiple=True, metavar="MULTIADDR", help="Peer to start from; may be given again."
)
@click.option(
    "--listen", default="/ip4/0.0.0.0/tcp/26656", show_default=True, metavar="MULTIADDR",
    help="Where peers find it.",
)  # fmt: skip
@click.option(
    "--rpc-port", type=click.IntRange(0, 65535), default=26657, show_default=True,
    help="Port of its RPC, on this machine alone; 0 for a free one.",
)  # fmt: skip
@password_option
@json_option
def init(
    home: Path,
    genesis_file: Path,
    moniker: str,
    bootstrap: tuple[str, ...],
    listen: str,
    rpc_port: int,
    password_file: Path | None,
    *,
    validator: bool,
    as_json: bool,
) -> None:
    """Make a node's folder: configuration, genesis file, keys.

    May be run again: what is there is left as it is. Keys are encrypted; their password is asked for at every
    start, unless the configuration names a password file.
    """
    from chain.crypto.keystore import KeyRole
    from tools.cli.genesis import load_genesis

    document = load_genesis(genesis_file)
    _check_peers(bootstrap)
    found = load_genesis(home / "genesis.json") if (home / "genesis.json").exists() else document
    if found.digest != document.digest:
        raise CliError(
            f"{home} is of {_chain(found)}, {genesis_file} of {_chain(document)}",
            code="OTHER_CHAIN", next_step="one folder, one chain: choose another --home",
            exit_code=Exit.REFUSED,
        )  # fmt: skip
    (home / "keys").mkdir(parents=True, exist_ok=True, mode=0o700)
    done = [_made(home / "genesis.json", genesis_file.read_bytes())]
    roles = [KeyRole.PEER, KeyRole.CONSENSUS] if validator else [KeyRole.PEER]
    keys = _make_keys(home / "keys", roles, password_file)
    done += keys
    if validator:
        done.append(_make_log(*keys[-1], chain_id=document.params.chain_id))
    config = _config(moniker, bootstrap, password_file, listen=listen, rpc_port=rpc_port, validator=validator)
    done.append(_made(home / CONFIG_NAME, config.encode()))
    files = [{"file": str(path), "made": made} for path, made in done]
    lines = [
        *table(
            ("file", "what happened"),
            [(item["file"], "made" if item["made"] else "found, left as it is") for item in files],
        ),
        f"chain {document.params.chain_id}, digest {document.digest.hex()}",
        f"start it: headrace node run --home {home}",
    ]
    emit({"files": files, "genesis": document.digest.hex()}, lines, as_json=as_json)


@click.command(epilog="Example: headrace node run --home ~/headrace")
@home_option
@click.option(
    "--state-sync/--no-state-sync",
    default=None,
    help="Begin with a late state, or with the first block; by itself a new node begins with a state if the "
    "chain is long.",
)
@click.option(
    "--prune", metavar="BLOCKS|SIZE",
    help="Keep so many blocks, like 5000, or stay below a size on disk, like 2GB.",
)  # fmt: skip
def run(home: Path, prune: str | None, *, state_sync: bool | None) -> None:
    """Follow a chain, verify everything, and vote if the node's key holds seats. Ctrl-C ends it."""
    from dataclasses import replace

    import trio

    from tools.cli.secrets import read_password
    from tools.cli.stopped import why_stopped
    from tools.node.config import ConfigError, read_config
    from tools.node.run import run_node, written_folders

    try:
        config = read_config(home / CONFIG_NAME)
    except (ConfigError, OSError) as error:
        raise CliError(
            f"{error.filename}: {error.strerror}" if isinstance(error, OSError) else str(error),
            code="BAD_CONFIG",
            next_step=f"make one: `headrace node init --home {home} --genesis FILE`",
        ) from None
    if state_sync is not None:
        config = replace(config, state_sync="always" if state_sync else "never")
    if prune is not None:
        config = replace(config, prune=_prune_rule(prune))
    logging.basicConfig(
        stream=sys.stdout,
        level=config.log_level.upper(),
        format="%(asctime)s %(levelname)s %(name)s %(message)s",
        force=True,
    )

    async def main() -> None:
        await run_node(config, password=lambda: read_password(None, "Password of the node's keys"))

    try:
        trio.run(main)
    except Exception as error:
        # Whatever ended it: told in a sentence if it is known, else as it is, with its traceback.
        why = why_stopped(error, written_folders(config))
        if why is None:
            raise
        raise why from None


def _prune_rule(text: str) -> str:
    from tools.node.pruning import PruneRule

    try:
        PruneRule.parse(text)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--prune") from None
    return text


def _make_keys(folder: Path, roles: "list[KeyRole]", password_file: Path | None) -> list[tuple[Path, bool]]:
    from chain.crypto.ed25519 import SecretKey
    from chain.crypto.keystore import ENTROPY_BYTES, KdfStrength, KeystoreError, write_key_file
    from tools.cli.secrets import keystore_failure, read_password

    missing = [role for role in roles if not (folder / f"{role.value}.json").exists()]
    if missing:
        password = read_password(password_file, "Password for the node's keys", confirm=True)
    for role in missing:
        try:
            write_key_file(
                folder / f"{role.value}.json", SecretKey.generate(os.urandom(32)), role=role,
                password=password, kdf=KdfStrength.MODERATE, entropy=os.urandom(ENTROPY_BYTES),
            )  # fmt: skip
        except KeystoreError as error:
            raise keystore_failure(error) from None
    return [(folder / f"{role.value}.json", role in missing) for role in roles]


def _make_log(key_file: Path, is_new: bool, *, chain_id: str) -> tuple[Path, bool]:
    """Only a key that was made just now is known never to have signed: for any other the operator decides."""
    from chain.crypto.keystore import read_key_header
    from tools.node.signing import log_path, make_log

    path = log_path(key_file)
    if is_new and not path.exists():
        return make_log(key_file, chain_id=chain_id, public_key=read_key_header(key_file).public_key), True
    if not path.exists():
        raise CliError(
            f"{key_file} was there before, and its signing log {path.name} is not",
            code="LOG_MISSING",
            next_step="put the log back; or `headrace guard import` what another machine exported; or "
            "`headrace guard create` if the key never signed on this chain",
            exit_code=Exit.REFUSED,
        )
    return path, False


def _chain(document: "GenesisDocument") -> str:
    return f"chain {document.params.chain_id} (genesis {document.digest.hex()[:16]})"


def _check_peers(addresses: tuple[str, ...]) -> None:
    for address in addresses:
        parts = address.split("/")
        if not address.startswith("/") or "tcp" not in parts or "p2p" not in parts[:-1]:
            raise click.BadParameter(
                f"{address!r} is no address like /ip4/10.0.0.1/tcp/26656/p2p/12D3...",
                param_hint="--bootstrap",
            )


def _config(
    moniker: str,
    bootstrap: tuple[str, ...],
    password_file: Path | None,
    *,
    listen: str,
    rpc_port: int,
    validator: bool,
) -> str:
    import json

    # A JSON string is a TOML basic string, and a JSON array of them a TOML array.
    lines = [
        f"moniker = {json.dumps(moniker)}",
        'genesis = "genesis.json"',
        'data_dir = "data"',
        "",
        "[p2p]",
        f"listen = {json.dumps([listen])}",
        f"bootstrap = {json.dumps(list(bootstrap))}",
        "",
        "[rpc]",
        'host = "127.0.0.1"',
        f"port = {rpc_port}",
        "",
        "[keys]",
        'peer = "keys/peer.json"',
    ]
    if validator:
        lines.append('consensus = "keys/consensus.json"')
    if password_file is not None:
        lines.append(f"password_file = {json.dumps(str(password_file.absolute()))}")
    return "\n".join(lines) + "\n"


def _made(path: Path, content: bytes) -> tuple[Path, bool]:
    """Write a file whole or not at all: half a configuration would be taken for one."""
    if path.exists():
        return path, False
    write_whole(path, content)
    return path, True
