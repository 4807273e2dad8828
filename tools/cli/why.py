"""`headrace why`: what happened to a name, and why."""

from pathlib import Path
from typing import Final

import click

from tools.cli.options import Remote, account_of, remote_options
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

    Every line is an event on the ledger: its height, its reason code, and the values at hand.
    """
    remote = Remote.of(url, testnet_dir)
    named = account_of(remote.testnet, id)
    story = remote.call(Story, "why", id=named.address if named is not None else id)
    emit(wire.write(Story, story, prefix=remote.prefix), tell(story, show_all=show_all), as_json=as_json)


def tell(story: Story, *, show_all: bool) -> list[str]:
    """A story in lines."""
    events = story.events if show_all else story.events[-SHOWN:]
    lines = [f"{story.kind} {story.subject.hex()}", story.summary, ""]
    if len(events) < len(story.events):
        lines.append(f"({len(story.events) - len(events)} earlier events: --all)")
    width = max((len(event.reason.name) for event in events), default=0)
    for event in events:
        lines.append(f"{event.height:>8}  {event.reason.name:<{width}}  {event.explanation}")
        details = _details(event, story.subject)
        if details:
            lines.append(f"{'':>8}  {'':<{width}}  {details}")
    return lines


def _details(event: EventView, subject: bytes) -> str:
    other = event.other if event.subject == subject else event.subject
    parts = [
        event.detail,
        f"amount {event.amount}" if event.amount else "",
        f"with {other.hex()}" if other and other != subject else "",
    ]
    return "; ".join(part for part in parts if part)
