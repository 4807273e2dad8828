"""`headrace peers`: who may not connect, and giving them another chance."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tools.cli.errors import CliError
from tools.cli.node import CONFIG_NAME, home_option
from tools.cli.options import json_option
from tools.cli.output import emit, table

if TYPE_CHECKING:
    from p2p.peers.ban_file import StoredBan


@click.command(epilog="Example: headrace peers bans --home ~/headrace --json")
@home_option
@json_option
def bans(home: Path, *, as_json: bool) -> None:
    """List the peers that may not connect, and why; the node may run or not."""
    from p2p.peers.ban_file import read_bans

    found = read_bans(_path(home))
    rows = [(ban.peer, _when(ban), ban.count, ban.reason) for ban in found]
    emit(
        {"bans": [_document(ban) for ban in found]},
        table(("peer", "until", "bans so far", "why"), rows) if rows else ["nobody is banned"],
        as_json=as_json,
    )


@click.command(epilog="Example: headrace peers lift 12D3KooWPeer --home ~/headrace")
@click.argument("peer")
@home_option
@json_option
def lift(peer: str, home: Path, *, as_json: bool) -> None:
    """End the ban of PEER; a running node takes that up within seconds."""
    from p2p.peers.ban_file import lift_ban

    lifted = lift_ban(_path(home), peer)
    if lifted is None:
        raise CliError(
            f"{peer} is not banned", code="NOT_BANNED", next_step=f"see headrace peers bans --home {home}"
        )
    emit({"lifted": _document(lifted)}, [f"{peer} may connect again"], as_json=as_json)


def _path(home: Path) -> Path:
    from p2p.peers.ban_file import BANS
    from tools.node.config import read_config

    path = home / CONFIG_NAME
    if not path.exists():
        raise CliError(f"{path} is not there", code="NO_NODE", next_step="name the node's folder with --home")
    return read_config(path).data_dir / BANS


def _when(ban: "StoredBan") -> str:
    return datetime.fromtimestamp(ban.until, UTC).isoformat(sep=" ", timespec="minutes")


def _document(ban: "StoredBan") -> dict[str, str | int]:
    return {"peer": ban.peer, "until": ban.until, "count": ban.count, "reason": ban.reason}
