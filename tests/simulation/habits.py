"""The ways of traitors. Each is an honest node but for what it overrides, and only while it may betray."""

from typing import TYPE_CHECKING

from chain.types.block import Block
from consensus import effects
from consensus.ledger import BuildRequest
from consensus.messages import ConsensusMessage
from consensus.requests import BlocksRequest, BlocksResponse
from consensus.sync import make_batch

if TYPE_CHECKING:
    from tests.simulation.node import Node
    from tests.simulation.questions import Answer


class Habit:
    """What a traitor does differently; as it stands, nothing."""

    def on_boot(self, node: "Node") -> None:
        """Before anything of a new life begins."""

    def broadcast(self, node: "Node", message: ConsensusMessage) -> None:
        node.world.broadcast(node, message)

    def send(self, node: "Node", to: int, message: ConsensusMessage) -> None:
        node.world.send(node, to, message)

    def make(self, node: "Node", request: BuildRequest) -> Block | None:
        return node.ledger.make(request)

    def answer_fetch(self, node: "Node", asker: "Node", wanted: effects.Fetch) -> "Answer":
        from tests.simulation.questions import honest_fetch

        return honest_fetch(node, wanted)

    def answer_status(self, node: "Node") -> int:
        return node.height

    def answer_blocks(self, node: "Node", request: BlocksRequest) -> BlocksResponse | None:
        return make_batch(node.ledger, request)


class TwoFaced(Habit):
    """Two unmodified nodes with one key; the world decides who hears which of them."""


def habit_of(name: str) -> Habit:
    return {"two_faced": TwoFaced}.get(name, Habit)()
