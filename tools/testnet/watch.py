"""What a testnet looks like from outside: its nodes asked over their RPC, as any user could."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import trio

from tools.rpc.client import CallFailed, Client, Unreachable
from tools.rpc.messages import CommitteeView, MinerView, Status

ASK_TIMEOUT_S: Final = 3.0


@dataclass(frozen=True, slots=True)
class Target:
    """A node to ask."""

    name: str
    rpc: str
    consensus_key: bytes | None
    """None for a node that only verifies."""


@dataclass(frozen=True, slots=True)
class Look:
    """All nodes at about one moment."""

    nodes: tuple[tuple[Target, Status | None], ...]
    """None: it did not answer."""
    committee: CommitteeView | None = None
    """As the node with the highest final block sees it."""
    miners: tuple[MinerView, ...] = ()

    @property
    def statuses(self) -> list[Status]:
        """Of the nodes that answered."""
        return [status for _, status in self.nodes if status is not None]

    @property
    def connections(self) -> int:
        """Connections between nodes: each is counted at both its ends."""
        return sum(status.peers for status in self.statuses) // 2

    @property
    def height(self) -> int:
        """Highest final block that any node knows."""
        return max((status.height for status in self.statuses), default=0)


class Watcher:
    """Asks every node; the answers of one that was restarted come again by themselves."""

    def __init__(self, targets: Sequence[Target]) -> None:
        self._clients = {target: Client(target.rpc, timeout=ASK_TIMEOUT_S) for target in targets}
        self._limiter = trio.CapacityLimiter(len(targets))

    async def look(self) -> Look:
        """Ask all nodes how they stand, and the furthest about the chain."""
        statuses: dict[Target, Status | None] = {}

        async def ask_one(target: Target, client: Client) -> None:
            statuses[target] = await trio.to_thread.run_sync(
                ask_status, client, limiter=self._limiter, abandon_on_cancel=True
            )

        async with trio.open_nursery() as nursery:
            for target, client in self._clients.items():
                nursery.start_soon(ask_one, target, client)
        look = Look(tuple((target, statuses[target]) for target in self._clients))
        for target, status in look.nodes:
            if status is not None and status.height == look.height:
                return await trio.to_thread.run_sync(
                    ask_chain, look, self._clients[target], limiter=self._limiter, abandon_on_cancel=True
                )
        return look


def ask_status(client: Client) -> Status | None:
    """How a node stands; None if it does not answer. Blocks."""
    try:
        return client.call(Status, "status")
    except (Unreachable, CallFailed):
        return None


def ask_chain(look: Look, client: Client) -> Look:
    """Add what one node knows of the chain; without it, if that node has gone. Blocks."""
    try:
        miners = client.call(tuple[MinerView, ...], "miners")
        return Look(look.nodes, client.call(CommitteeView, "committee"), miners)
    except (Unreachable, CallFailed):
        return look


def status_line(look: Look, elapsed_s: float) -> str:
    """The testnet in one line."""
    minutes, seconds = divmod(int(elapsed_s), 60)
    parts = [f"{minutes // 60:02}:{minutes % 60:02}:{seconds:02}", *chain_parts(look)]
    return " | ".join(parts)


def chain_parts(look: Look) -> list[str]:
    """Height, finality, committee and work, each in a few words."""
    statuses = look.statuses
    if not statuses:
        return ["no node answers"]
    furthest = max(statuses, key=lambda status: status.height)
    parts = [f"height {furthest.height}", f"final {furthest.lag_ms / 1000:.1f} s ago"]
    if len(statuses) < len(look.nodes):
        parts.append(f"{len(statuses)}/{len(look.nodes)} nodes answer")
    if look.committee is not None:
        source = "genesis" if look.committee.from_genesis else "work"
        seats = {holder.consensus_key: holder.seats for holder in look.committee.validators}
        voters = [target.consensus_key for target, _ in look.nodes if target.consensus_key is not None]
        shown = " ".join(str(seats.get(key, 0)) for key in voters)
        parts.append(f"epoch {look.committee.epoch}, committee from {source}, seats {shown}")
    units = sum(miner.units for miner in look.miners)
    return [*parts, f"work {units / 1e6:.1f} M units"]
