"""Peers that lie to a node that begins or catches up, each in a way of its own."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace

import trio

from chain.codec import decode, encode
from chain.state.chunks import Entries, Entry
from chain.types.block import Block
from consensus.sync.requests import BLOCKS, MAX_ANSWER, STATUS, BlocksResponse, Status
from consensus.sync.snapshots import EPOCHS, OFFERS, PIECES, EpochsResponse, Offers, PiecesResponse
from p2p.network import Handler, Network, PeerId, RequestRefused

Lie = Callable[[bytes], Awaitable[bytes]]
"""Makes an answer of the honest one; may never come back."""


@dataclass
class Recorder:
    """Stands where a network would, and keeps the honest handlers."""

    handlers: dict[str, Handler] = field(default_factory=dict)
    limits: dict[str, int] = field(default_factory=dict)

    def is_kept(self, _peer: PeerId) -> bool:
        return False

    def set_handler(self, method: str, handler: Handler, *, limit: int) -> None:
        self.handlers[method] = handler
        self.limits[method] = limit

    def serve(self, network: Network, lies: dict[str, Lie]) -> None:
        """Answer on a network as was recorded, but for the methods of which there is a lie."""

        def answering(method: str) -> Handler:
            async def answer(peer: PeerId, payload: bytes) -> bytes:
                told = await self.handlers[method](peer, payload)
                return await lies[method](told) if method in lies else told

            return answer

        for method, limit in self.limits.items():
            network.set_handler(method, answering(method), limit=limit)


async def silence(_told: bytes) -> bytes:
    await trio.sleep_forever()
    raise AssertionError


async def refusal(_told: bytes) -> bytes:
    await trio.lowlevel.checkpoint()
    raise RequestRefused("not today")


async def rubbish(_told: bytes) -> bytes:
    await trio.lowlevel.checkpoint()
    return b"\xc1"


async def far_height(told: bytes) -> bytes:
    await trio.lowlevel.checkpoint()
    return encode(replace(decode(Status, told, limit=256), height=1 << 30))


async def far_state(told: bytes) -> bytes:
    await trio.lowlevel.checkpoint()
    return encode(Offers((1 << 30, *decode(Offers, told, limit=256).epochs)))


async def wrong_pieces(told: bytes) -> bytes:
    await trio.lowlevel.checkpoint()
    answer = decode(PiecesResponse, told, limit=1 << 23)
    return encode(PiecesResponse((*answer.pieces[:-1], Entries((Entry(b"key", b"value"),)))))


async def wrong_ends(told: bytes) -> bytes:
    await trio.lowlevel.checkpoint()
    *ends, last = decode(EpochsResponse, told, limit=1 << 23).ends
    return encode(EpochsResponse((*ends, replace(last, header=replace(last.header, state_root=bytes(32))))))


async def wrong_blocks(told: bytes) -> bytes:
    """The last header is changed and signed by nobody."""
    await trio.lowlevel.checkpoint()
    batch = decode(BlocksResponse, told, limit=MAX_ANSWER)
    last = batch.blocks[-1]
    forged = Block(replace(last.header, timestamp_ms=last.header.timestamp_ms + 1), last.transactions)
    return encode(replace(batch, blocks=(*batch.blocks[:-1], forged)))


async def one_block(told: bytes) -> bytes:
    """A block a time-out, and the rest led over by headers: nothing is wrong with it but the time."""
    await trio.sleep(0.8)
    batch = decode(BlocksResponse, told, limit=MAX_ANSWER)
    bridge = tuple(block.header for block in batch.blocks[1:]) + batch.bridge
    return encode(BlocksResponse(batch.blocks[:1], bridge, batch.certificate))


async def truncated(told: bytes) -> bytes:
    await trio.lowlevel.checkpoint()
    return told[: len(told) // 2]


FOUR: dict[str, dict[str, Lie]] = {
    "forger": {PIECES: wrong_pieces, BLOCKS: wrong_blocks},
    "mute": {PIECES: silence, BLOCKS: silence},
    "boaster": {OFFERS: far_state, EPOCHS: wrong_ends, STATUS: far_height, BLOCKS: refusal},
    "trickler": {PIECES: truncated, STATUS: far_height, BLOCKS: one_block},
}
"""What the four who lie do, by name; for everything else they answer honestly."""
