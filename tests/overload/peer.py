"""A peer that offers transactions: `python -m tests.overload.peer PLACE`, as the campaign starts it.

It speaks the protocol without a fault, so nobody may ban it, and follows the chain to know what landed. An
order comes as a line of JSON on its standard input. Without a rate it offers each transfer to one node and
keeps as many on their way as the chain has use for: that finds out what the chain takes. With a rate it is
hostile: every frame goes to every node; half of it are transfers that pay the fee and are in no block yet,
half are transfers that blocks hold: valid signatures that cost a look and lead nowhere.

Prints a sample a second, one line of JSON each; ends with its input.
"""

import json
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import trio

from chain.codec import decode, encode
from chain.types.block import Block
from chain.types.transaction import ProveWork, SignedTransaction
from consensus.sync.requests import BLOCKS, MAX_ANSWER, BlocksRequest, BlocksResponse
from genesis.document import read_genesis
from p2p.config import NetworkConfig
from p2p.libp2p_network import Libp2pNetwork, open_network
from p2p.network import Lane, PeerId, RequestFailed
from tests.overload.accounts import load_keys
from tests.overload.samples import Sample
from tests.overload.windows import Windows
from tools.node.gossip import Batch

BATCH: Final = 128
FIRST_WIDTH: Final = 4
WIDEST: Final = 64
"""What a mempool takes of one account."""
HOSTILE_WIDTH: Final = 16
"""So far beyond a missing nonce a mempool takes others; what was dropped comes again the sooner."""
PATIENCE_S: Final = 20.0
"""After which what did not land is offered again by a peer that means well."""

_TICK_S: Final = 0.02
_CONNECT_S: Final = 60.0
_ASK_S: Final = 0.2
_ANSWER_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Place:
    """Where to offer.

    Args:
        genesis: file of the chain.
        nodes: multiaddresses of the nodes; it connects to all of them before it does anything.
        accounts: how many of `load_keys` have coins, and have sent nothing yet.
        height: of a final block before any of theirs.
    """

    genesis: str
    nodes: tuple[str, ...]
    accounts: int
    height: int


@dataclass(frozen=True, slots=True)
class Order:
    """What to offer.

    Args:
        rate: transactions a second to each node; 0 keeps as many on their way as the chain has use for.
        seconds: for how long.
    """

    rate: int
    seconds: float


class Peer:
    """Offers, follows the chain, counts."""

    def __init__(self, network: Libp2pNetwork, place: Place, chain_id: str) -> None:
        self._network, self._height = network, place.height
        self._nodes = network.peers()
        keys, ways = load_keys(place.accounts), len(self._nodes)
        # An account's nonces must come in order: a peer that means well sends all of them the same way.
        self._windows = [
            Windows(keys[way::ways], [0] * len(keys[way::ways]), chain_id=chain_id, width=FIRST_WIDTH)
            for way in range(ways)
        ]
        self._widens = False
        self._offered = self._fresh = self._refused = 0
        self._landed = self._proofs = self._blocks = self._short = 0

    async def offer(self, order: Order) -> None:
        """Do it for as long as ordered."""
        self._widens = order.rate == 0
        with trio.move_on_after(order.seconds):
            await (self._flood(order.rate) if order.rate else self._saturate())
        self._widens = False

    async def follow(self) -> None:
        """Read final blocks of one node, and of the next when it has none, as who catches up does."""
        turn = 0
        while True:
            question = encode(BlocksRequest(self._height + 1, 16))
            node = self._nodes[turn % len(self._nodes)]
            try:
                answer = await self._network.request(
                    node, BLOCKS, question, timeout=_ANSWER_S, limit=MAX_ANSWER
                )
            except RequestFailed:
                turn += 1
                await trio.sleep(_ASK_S)
                continue
            for block in decode(BlocksResponse, answer, limit=MAX_ANSWER).blocks:
                self._take(block)

    async def tell(self) -> None:
        """Print a sample a second."""
        while True:
            print(json.dumps(asdict(self._sample())), flush=True)
            await trio.sleep(1)

    async def _saturate(self) -> None:
        while True:
            now = trio.current_time()
            for node, windows in zip(self._nodes, self._windows, strict=True):
                windows.again(now, patience=PATIENCE_S)
                while batch := windows.fresh(BATCH, now):
                    self._fresh += len(batch)
                    self._send((node,), batch)
                    await trio.lowlevel.checkpoint()
            await trio.sleep(_TICK_S)

    async def _flood(self, rate: int) -> None:
        began, before, turn = trio.current_time(), self._offered, 0
        for windows in self._windows:
            windows.width = HOSTILE_WIDTH
        while True:
            now = trio.current_time()
            if self._offered - before >= rate * (now - began):
                await trio.sleep(_TICK_S)
                continue
            windows = self._windows[turn % len(self._windows)]
            turn += 1
            old = windows.old(BATCH // 2)
            fresh = windows.fresh(BATCH - len(old), now)
            if len(fresh) < BATCH - len(old):
                windows.again(now, patience=0)
                fresh += windows.fresh(BATCH - len(old) - len(fresh), now)
            self._fresh += len(fresh)
            self._send(self._nodes, fresh + old)
            await trio.lowlevel.checkpoint()

    def _send(self, nodes: Sequence[PeerId], batch: Sequence[SignedTransaction]) -> None:
        frame = encode(Batch(tuple(batch)))
        refused = [not self._network.send(node, Lane.TRANSACTIONS, frame) for node in nodes]
        self._offered += len(batch)
        self._refused += len(batch) * sum(refused) // len(nodes)

    def _take(self, block: Block) -> None:
        now = trio.current_time()
        landed = sum(windows.landed(block.transactions, now) for windows in self._windows)
        waiting = sum(windows.waiting for windows in self._windows)
        self._height = block.header.height
        self._blocks += 1
        self._landed += landed
        self._proofs += sum(isinstance(one.transaction.body, ProveWork) for one in block.transactions)
        if self._widens and waiting < landed:
            # Less than one more block's worth was on its way: the chain might have taken more.
            self._short += 1
            for windows in self._windows:
                windows.width = min(WIDEST, 2 * windows.width)

    def _sample(self) -> Sample:
        return Sample(
            at=time.time(),
            offered=self._offered,
            fresh=self._fresh,
            refused=self._refused,
            landed=self._landed,
            proofs=self._proofs,
            blocks=self._blocks,
            short=self._short,
            waiting=sum(windows.waiting for windows in self._windows),
            width=self._windows[0].width,
            connected=len(self._network.peers()),
        )


@asynccontextmanager
async def connected(place: Place) -> AsyncIterator[Peer]:
    """A peer that is connected to every node."""
    genesis = read_genesis(Path(place.genesis))
    config = NetworkConfig(
        identity_seed=b"overload".ljust(32, b"."), chain_tag=genesis.digest, bootstrap=place.nodes
    )
    async with open_network(config) as network, trio.open_nursery() as nursery:
        nursery.start_soon(_forget, network.inbound)
        nursery.start_soon(_forget, network.events)
        with trio.fail_after(_CONNECT_S):
            while len(network.peers()) < len(place.nodes):  # noqa: ASYNC110 - asked from outside
                await trio.sleep(0.05)
        yield Peer(network, place, genesis.params.chain_id)
        nursery.cancel_scope.cancel()


async def _forget(channel: trio.abc.ReceiveChannel[object]) -> None:
    """Take what the nodes send, as a good peer does."""
    async for _ in channel:
        pass


async def main() -> None:
    """Connect, take orders, say how it goes."""
    read = json.loads(sys.argv[1])
    place = Place(**(read | {"nodes": tuple(read["nodes"])}))
    async with connected(place) as peer, trio.open_nursery() as nursery:
        nursery.start_soon(peer.follow)
        nursery.start_soon(peer.tell)
        async for line in trio.wrap_file(sys.stdin):
            await peer.offer(Order(**json.loads(line)))
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main)
