"""`headrace why`: what happened to a name, and why."""

from pathlib import Path
from typing import Final

import click

from chain.address import encode_address
from chain.reasons import Reason
from tools.amounts import coins
from tools.cli.options import Remote, remote_options
from tools.cli.output import emit
from tools.rpc import wire
from tools.rpc.messages import EventView, Story

SHOWN: Final = 40


@click.command(
    epilog="Example: headrace why 3f1c...  (a task, commit or transaction id, a key, or an address)"
)
@click.argument("id", metavar="ID")
@click.option("--all", "show_all", is_flag=True, help=f"Show more than the latest {SHOWN} events.")
@remote_options
def why(id: str, url: str | None, testnet_dir: Path | None, *, show_all: bool, as_json: bool) -> None:  # noqa: A002
    """Tell what happened to a task, commit, transaction, miner, account or consensus key.

    Every line is an event on the ledger: its height, its reason code, and the values at hand. With --testnet,
    ID may be the name of an account, a miner or a validator.
    """
    remote = Remote.of(url, testnet_dir)
    story = remote.call(Story, "why", id=_name(remote, id))
    emit(
        wire.write(Story, story, prefix=remote.prefix),
        tell(story, prefix=remote.prefix, show_all=show_all),
        as_json=as_json,
    )


def _name(remote: Remote, name: str) -> str:
    """What a name of the local testnet stands for; any other as it is."""
    if remote.testnet is None:
        return name
    keys = {node.name: node.consensus_key for node in remote.testnet.nodes}
    return keys.get(name) or remote.names.get(name, name)


def tell(story: Story, *, prefix: str, show_all: bool) -> list[str]:
    """A story in lines."""
    events = story.events if show_all else story.events[-SHOWN:]
    lines = [_party(story.subject, story.kind, prefix=prefix), story.summary, ""]
    if len(events) < len(story.events):
        lines.append(f"({len(story.events) - len(events)} earlier events: --all)")
    width = max((len(event.reason.name) for event in events), default=0)
    for event in events:
        lines.append(f"{event.height:>8}  {event.reason.name:<{width}}  {event.explanation}")
        details = _details(event, story.subject, prefix=prefix)
        if details:
            lines.append(f"{'':>8}  {'':<{width}}  {details}")
    return lines


def _details(event: EventView, subject: bytes, *, prefix: str) -> str:
    is_subject = event.subject == subject
    other, kind = (event.other, event.other_kind) if is_subject else (event.subject, event.subject_kind)
    parts = [event.detail, _amount(event), _party(other, kind, prefix=prefix) if other != subject else ""]
    return "; ".join(part for part in parts if part)


def _amount(event: EventView) -> str:
    match event.amount_kind:
        case "coins":
            what = "fee " if event.reason is Reason.OK else ""
            return f"{what}{coins(event.amount)} coins"
        case "units":
            return f"{event.amount / 1e6:.1f} M units"
        case "height" | "epoch" | "attempts":
            return f"{event.amount_kind} {event.amount}"
        case "seats":
            return f"{event.amount} seats"
    return ""


def _party(key: bytes, kind: str, *, prefix: str) -> str:
    if not key:
        return ""
    name = encode_address(key, prefix=prefix) if kind in ("account", "miner") else key.hex()
    return f"{kind} {name}".lstrip()
