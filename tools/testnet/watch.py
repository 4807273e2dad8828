"""What a testnet looks like from outside: each node asked over its RPC, as any user could."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import trio

from tools.rpc.client import CallFailed, Client, Unreachable
from tools.rpc.messages import CommitteeView, Status

ASK_TIMEOUT_S: Final = 3.0


@dataclass(frozen=True, slots=True)
class NodeLook:
    """One node at one moment."""

    name: str
    status: Status | None
    """None if it did not answer."""
    committee: CommitteeView | None


@dataclass(frozen=True, slots=True)
class Look:
    """All nodes at about one moment."""

    nodes: tuple[NodeLook, ...]

    @property
    def answering(self) -> int:
        """Nodes that answered."""
        return sum(node.status is not None for node in self.nodes)

    @property
    def connections(self) -> int:
        """Connections between nodes: each is counted at both its ends."""
        return sum(node.status.peers for node in self.nodes if node.status is not None) // 2

    @property
    def furthest(self) -> NodeLook | None:
        """The node with the highest final block."""
        answering = [node for node in self.nodes if node.status is not None]
        return max(answering, key=lambda node: node.status.height if node.status else 0, default=None)

    @property
    def height(self) -> int:
        """Highest final block that any node knows."""
        furthest = self.furthest
        return 0 if furthest is None or furthest.status is None else furthest.status.height


class Watcher:
    """Asks every node; the answers of one that was restarted come again by themselves."""

    def __init__(self, nodes: Sequence[tuple[str, str]]) -> None:
        """Take (name, RPC address) of each node."""
        self._clients = [(name, Client(rpc, timeout=ASK_TIMEOUT_S)) for name, rpc in nodes]
        self._limiter = trio.CapacityLimiter(max(1, len(nodes)))

    async def look(self) -> Look:
        """Ask all nodes at once."""
        looks: dict[str, NodeLook] = {}

        async def ask_one(name: str, client: Client) -> None:
            looks[name] = await trio.to_thread.run_sync(
                ask, name, client, limiter=self._limiter, abandon_on_cancel=True
            )

        async with trio.open_nursery() as nursery:
            for name, client in self._clients:
                nursery.start_soon(ask_one, name, client)
        return Look(tuple(looks[name] for name, _ in self._clients))


def ask(name: str, client: Client) -> NodeLook:
    """One node's answers, without an event loop."""
    try:
        return NodeLook(name, client.call(Status, "status"), client.call(CommitteeView, "committee"))
    except (Unreachable, CallFailed):
        return NodeLook(name, None, None)


def status_line(look: Look, elapsed_s: float) -> str:
    """The testnet in one line."""
    minutes, seconds = divmod(int(elapsed_s), 60)
    clock = f"{minutes // 60:02}:{minutes % 60:02}:{seconds:02}"
    furthest = look.furthest
    if furthest is None or furthest.status is None:
        return f"{clock} | no node answers"
    status, committee = furthest.status, furthest.committee
    parts = [clock, f"height {status.height}", f"final {status.lag_ms / 1000:.1f} s ago"]
    if look.answering < len(look.nodes):
        parts.append(f"{look.answering}/{len(look.nodes)} nodes answer")
    if committee is not None:
        source = "genesis" if committee.from_genesis else "work"
        seats = {holder.consensus_key: holder.seats for holder in committee.validators}
        keys = [node.status.consensus_key for node in look.nodes if node.status is not None]
        shown = " ".join(str(seats.get(key, 0)) for key in keys if key is not None)
        parts.append(f"epoch {committee.epoch}, committee from {source}, seats {shown}")
    return " | ".join([*parts, f"mempool {status.mempool}"])
