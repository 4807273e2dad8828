"""What a node asks others for: missing bodies and certificates (S8), and final blocks when it has fallen
behind.

`consensus.fetcher` and `consensus.sync.block_sync` do this with tasks; here it is done with events, and
answers are judged by the same functions.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chain.types.block import Block
from consensus.messages import Certificate
from consensus.simplex import effects, events
from consensus.sync.batch import Anchor, BatchError, body_matches, check_batch
from consensus.sync.download import ASKED_BLOCKS
from consensus.sync.requests import BlocksRequest, BlocksResponse
from tests.consensus.batches import make_batch

if TYPE_CHECKING:
    from tests.simulation.node import Node

_TRIED_PEERS = 4
_TIMEOUT_MS = 1500
_POLL_MS = 5000
_HINT_EVERY_MS = 500


@dataclass(slots=True)
class Answer:
    """What a node has of a question for bodies and certificates."""

    blocks: tuple[tuple[bytes, Block], ...]
    certificates: tuple[Certificate, ...]


class Questions:
    """The questions of one life of one node."""

    def __init__(self, node: "Node") -> None:
        self._node, self._world = node, node.world
        self._in_flight: set[tuple[tuple[bytes, ...], int, int]] = set()
        self._pending: list[Block] = []
        """Proven final, but not yet up to a block with a certificate of its own."""
        self._next_hint = 0

    def start(self) -> None:
        self._poll()

    def hint(self, peer: int) -> None:
        """``peer`` seems to be ahead."""
        if self._world.now >= self._next_hint:
            self._next_hint = self._world.now + _HINT_EVERY_MS
            self._look(self._world.nodes[peer])

    def fetch(self, wanted: effects.Fetch) -> None:
        """Ask until somebody has an answer, or a few had none."""
        key = (wanted.digests, wanted.first_view, wanted.end_view)
        if key in self._in_flight:
            return
        self._in_flight.add(key)
        others = [node for node in self._world.nodes if node is not self._node]
        self._world.rng.shuffle(others)
        holders = set(wanted.holders)
        others.sort(key=lambda node: node.key.public_key not in holders)
        targets = others[:_TRIED_PEERS]

        def ask_next() -> None:
            if key not in self._in_flight:
                return
            if not targets:
                self._in_flight.discard(key)
                return
            target = targets.pop(0)
            self._world.ask(self._node, target, lambda peer: answer_fetch(peer, wanted), take(target))
            self._world.later(_TIMEOUT_MS, self._node, ask_next)

        def take(target: "Node") -> Callable[[Answer], None]:
            def taken(answer: Answer) -> None:
                if key in self._in_flight and (answer.blocks or answer.certificates):
                    self._in_flight.discard(key)
                    self._found(target, wanted, answer)

            return taken

        ask_next()

    def _found(self, target: "Node", wanted: effects.Fetch, answer: Answer) -> None:
        node = self._node
        for _, block in answer.blocks:
            digest = block.digest
            if digest not in wanted.digests or not body_matches(block):
                self._world.watch.reported(node, target.number, "an answer that was not asked for")
                return
            if node.simplex.epoch == wanted.epoch:
                node.handle(events.BlockFetched(block, digest))
        for certificate in answer.certificates:
            node.receive(target.name, certificate, None)

    def _poll(self) -> None:
        others = [node for node in self._world.nodes if node is not self._node]
        if others:
            self._look(self._world.rng.choice(others))
            self._world.later(_POLL_MS, self._node, self._poll)

    def _look(self, peer: "Node") -> None:
        def take(claimed: int) -> None:
            self._follow(peer, claimed)

        self._world.ask(self._node, peer, answer_status, take)

    def _follow(self, peer: "Node", claimed: int) -> None:
        """Take batches from ``peer`` up to the height it claimed, or until it fails or lies."""
        anchor = self._anchor()
        if anchor is None:
            self._pending = []
            anchor = self._anchor()
        if anchor is None or anchor.height >= claimed:
            return
        request = BlocksRequest(anchor.height + 1, ASKED_BLOCKS)

        def take(batch: BlocksResponse | None) -> None:
            if batch is not None and self._take(peer, batch):
                self._follow(peer, claimed)

        self._world.ask(self._node, peer, lambda target: answer_blocks(target, request), take)

    def _take(self, peer: "Node", batch: BlocksResponse) -> bool:
        anchor = self._anchor()
        if anchor is None or (batch.blocks and batch.blocks[0].header.height != anchor.height + 1):
            return False
        try:
            check_batch(batch, anchor, chain_id=self._world.params.chain_id)
        except BatchError as error:
            self._world.watch.reported(self._node, peer.number, f"bad batch: {error}")
            return False
        self._pending += batch.blocks
        if not batch.bridge:
            blocks, self._pending = tuple(self._pending), []
            self._node.catch_up(blocks, batch.certificate)
        return True

    def _anchor(self) -> Anchor | None:
        """What the next batch must continue; None if the chain moved past what is pending."""
        ledger = self._node.ledger
        head = ledger.final_head
        if self._pending and self._pending[0].header.parent != head.digest:
            return None
        header = self._pending[-1].header if self._pending else head
        epoch = ledger.params.epoch_of(header.height + 1)
        return Anchor(
            header.height, header.digest, epoch, ledger.committee(epoch), ledger.params.last_height(epoch)
        )


def answer_fetch(node: "Node", wanted: effects.Fetch) -> Answer:
    if node.habit is not None and node.is_corrupt:
        return node.habit.answer_fetch(node, wanted)
    return honest_fetch(node, wanted)


def honest_fetch(node: "Node", wanted: effects.Fetch) -> Answer:
    found = [(d, b) for d in wanted.digests if (b := node.simplex.block(d) or node.ledger.block(d))]
    same = node.simplex.epoch == wanted.epoch and wanted.end_view > wanted.first_view
    certificates = tuple(node.simplex.certificates(wanted.first_view, wanted.end_view)) if same else ()
    return Answer(tuple(found), certificates)


def answer_status(node: "Node") -> int:
    if node.habit is not None and node.is_corrupt:
        return node.habit.answer_status(node)
    return node.height


def answer_blocks(node: "Node", request: BlocksRequest) -> BlocksResponse | None:
    if node.habit is not None and node.is_corrupt:
        return node.habit.answer_blocks(node, request)
    return make_batch(node.ledger, request)
