"""`headrace status`: how a node and its chain stand."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import click

from tools.cli.options import Remote, remote_options
from tools.cli.output import emit, pairs, table
from tools.rpc import wire
from tools.rpc.commons_messages import CommonsPoint, CommonsView
from tools.rpc.messages import CommitteeView, MinerView, Status

TREND_POINTS: Final = 8


@click.command(epilog="Example: headrace status --testnet ./testnet")
@remote_options
def status(url: str | None, testnet_dir: Path | None, *, as_json: bool) -> None:
    """Show height, finality lag, peers, seats, who leads in seats and in work, and what the work made.

    Work is what was proven in the averaging window and the running epoch; it becomes the next seats. When the
    node does not follow the chain, the last line says why.
    """
    remote = Remote.of(url, testnet_dir)
    now = remote.call(Status, "status")
    seats = remote.call(CommitteeView, "committee")
    miners = remote.call(tuple[MinerView, ...], "miners")
    model = remote.call(CommonsView, "commons")
    document = {
        "status": wire.write(Status, now, prefix=remote.prefix),
        "committee": wire.write(CommitteeView, seats, prefix=remote.prefix),
        "miners": wire.write(tuple[MinerView, ...], miners, prefix=remote.prefix),
        "commons": wire.write(CommonsView, model, prefix=remote.prefix),
    }
    nodes = () if remote.testnet is None else remote.testnet.nodes
    names = {bytes.fromhex(node.consensus_key): node.name for node in nodes if node.consensus_key}
    lines = pairs([*_summary(now, seats, miners), *_learned(model)])
    lines += ["", *_holders(now, seats, miners, names)]
    if now.syncing:
        lines += ["", f"not in step with the chain: {now.syncing}"]
    if now.disk:
        lines += ["", now.disk]
    emit(document, lines, as_json=as_json)


def _summary(now: Status, seats: CommitteeView, miners: tuple[MinerView, ...]) -> list[tuple[str, object]]:
    own = (
        f"{now.own_seats} of {now.seats}"
        if now.consensus_key
        else "none: this node verifies and does not vote"
    )
    first = _share(seats.validators[0].seats, seats.seats)
    total = sum(miner.units for miner in miners)
    leader = f"; the first miner did {_share(miners[0].units, total)}" if total else ""
    halters = f"{seats.to_halt} together" if seats.to_halt > 1 else "it alone"
    return [
        ("chain", f"{now.chain_id} (genesis {now.genesis.hex()[:16]})"),
        ("height", f"{now.height}, final {now.lag_ms / 1000:.1f} s ago"),
        ("first block", now.first_block if now.first_block > 1 else ""),
        ("epoch", f"{now.epoch}, ends at height {now.epoch_last_height}; view {now.view}"),
        ("peers", now.peers),
        ("mempool", now.mempool),
        ("base fee", now.base_fee),
        ("own seats", own),
        ("seats from", "genesis" if seats.from_genesis else "checked work"),
        ("work", f"{total / 1e6:.1f} M units by {sum(m.units > 0 for m in miners)} miners{leader}"),
        ("concentration", f"the first holder has {first} of the seats; {halters} can stop the chain"),
    ]


def _learned(model: CommonsView) -> list[tuple[str, object]]:
    """How good the commons model has become."""
    images = model.images
    now = f"loss {_loss(model.now)}, {_share(model.now.right, images)} of {images} images right"
    waiting = f"{model.waiting_votes} votes wait for the end of round {model.round}"
    votes = (
        f"after {model.steps} steps; the last by votes of {model.now.shards} proven shards, {waiting}"
        if model.steps
        else f"no step yet: no vote was proven by the end of a round; {waiting}"
    )
    lines: list[tuple[str, object]] = [
        ("commons", f"{now} (at genesis {_loss(model.first)}, {_share(model.first.right, images)})"),
        ("", votes),
    ]
    if len(model.history) > 1:
        lines.append(("trend", " ".join(_loss(point) for point in _spread([model.first, *model.history]))))
    return lines


def _spread(points: Sequence[CommonsPoint]) -> list[CommonsPoint]:
    """A few points at equal distances, the first and the last among them."""
    last = len(points) - 1
    count = min(TREND_POINTS, len(points))
    return [points[last * place // (count - 1)] for place in range(count)]


def _loss(point: CommonsPoint) -> str:
    return f"{point.loss_millinats / 1000:.3f}"


def _holders(
    now: Status, seats: CommitteeView, miners: tuple[MinerView, ...], names: dict[bytes, str]
) -> list[str]:
    """Who has seats or work: most seats first, then most work."""
    held = {validator.consensus_key: validator.seats for validator in seats.validators}
    done = {miner.consensus_key: miner.units for miner in miners if miner.units}
    total = sum(done.values())
    rows = []
    for key in sorted(held | done, key=lambda key: (-held.get(key, 0), -done.get(key, 0), key)):
        units = done.get(key, 0)
        work = f"{units / 1e6:.1f} M ({_share(units, total)})" if units else "none"
        name = names.get(key, "")
        if key == now.consensus_key:
            name = f"{name} (this node)".lstrip()
        rows.append((key.hex()[:16], held.get(key, 0), _share(held.get(key, 0), seats.seats), work, name))
    return table(("consensus key", "seats", "", "work", ""), rows)


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "0 %"
