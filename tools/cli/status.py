"""`headrace status`: how a node and its chain stand."""

from pathlib import Path

import click

from tools.cli.options import Remote, remote_options
from tools.cli.output import emit, pairs, table
from tools.rpc import wire
from tools.rpc.messages import CommitteeView, Status


@click.command(epilog="Example: headrace status --testnet ./testnet")
@remote_options
def status(url: str | None, testnet_dir: Path | None, *, as_json: bool) -> None:
    """Show height, finality lag, peers, seats and who holds them.

    When the node does not follow the chain, the last line says why.
    """
    remote = Remote.of(url, testnet_dir)
    now = remote.call(Status, "status")
    seats = remote.call(CommitteeView, "committee")
    document = {
        "status": wire.write(Status, now, prefix=remote.prefix),
        "committee": wire.write(CommitteeView, seats, prefix=remote.prefix),
    }
    emit(document, _lines(now, seats), as_json=as_json)


def _lines(now: Status, seats: CommitteeView) -> list[str]:
    own = (
        f"{now.own_seats} of {now.seats}"
        if now.consensus_key
        else "none: this node verifies and does not vote"
    )
    source = "genesis" if seats.from_genesis else "checked work"
    lines = pairs(
        [
            ("chain", f"{now.chain_id} (genesis {now.genesis.hex()[:16]})"),
            ("height", f"{now.height}, final {now.lag_ms / 1000:.1f} s ago"),
            ("epoch", f"{now.epoch}, ends at height {now.epoch_last_height}; view {now.view}"),
            ("peers", now.peers),
            ("mempool", now.mempool),
            ("base fee", now.base_fee),
            ("own seats", own),
            ("seats from", source),
            ("largest holder", f"{seats.largest_permille / 10:.1f} % of the seats"),
            ("can halt", f"{seats.to_halt} holders together"),
        ]
    )
    rows = [(v.consensus_key.hex()[:16], v.seats) for v in seats.validators]
    lines += ["", *table(("consensus key", "seats"), rows)]
    if now.syncing:
        lines += ["", f"not in step with the chain: {now.syncing}"]
    return lines
