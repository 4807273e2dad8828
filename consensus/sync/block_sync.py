"""Catching up: looks at how far peers are, fetches what is missing here, and answers those who ask the same.

What is fetched is not believed: `consensus.sync.download` and `consensus.sync.batch` say how it is checked.
"""

import logging
from collections.abc import Sequence
from typing import Final

import trio

from chain.codec import decode, encode
from chain.msgpack_reader import DecodeError
from consensus.ledger import Ledger
from consensus.sync.batch import batch_steps
from consensus.sync.download import Deliver, Download
from consensus.sync.requests import (
    BLOCKS,
    LIE_WEIGHT,
    MAX_REQUEST,
    MAX_STATUS,
    STATUS,
    BlocksRequest,
    Status,
)
from consensus.sync.serving import Desk
from p2p.network import Network, PeerId, RequestFailed, RequestRefused

log = logging.getLogger(__name__)

LEAST_PAUSE: Final = 0.2
"""Seconds between two looks, whatever hints peers give: a hint costs them nothing."""

ASKED_PEERS: Final = 3
"""Peers whose status one look asks for."""

HINTED_PEERS: Final = ASKED_PEERS - 1
"""Peers among them that asked for it by a hint: one place is always for whoever's turn it is."""

SOURCES: Final = 8
"""Peers that are fetched from at the same time."""

FAR: Final = 32
"""Blocks behind from which on more peers than the one ahead are looked for."""


class Sync:
    """Asks peers how far they are, and fetches what is missing here."""

    def __init__(
        self,
        network: Network,
        ledger: Ledger,
        deliver: Deliver,
        *,
        request_timeout: float,
        poll_interval: float,
    ) -> None:
        self._network = network
        self._ledger = ledger
        self._request_timeout = request_timeout
        self._poll_interval = poll_interval
        self._hints: dict[PeerId, None] = {}
        self._wake = trio.Event()
        self._turn = 0
        self._troubles: dict[PeerId, str] = {}
        self._download = Download(network, ledger, deliver, request_timeout, self._troubles)
        self._is_downloading = False
        self._has_looked = False
        self._desk = Desk("blocks", is_kept=network.is_kept)

    def register(self) -> None:
        """Answer other nodes."""
        self._network.set_handler(STATUS, self._answer_status, limit=MAX_REQUEST)
        self._network.set_handler(BLOCKS, self._answer_blocks, limit=MAX_REQUEST)

    def hint(self, peer: PeerId) -> None:
        """``peer`` seems to be ahead of us: look now."""
        if len(self._hints) < HINTED_PEERS:
            self._hints[peer] = None
        self._wake.set()

    def describe(self) -> str:
        """What is being fetched, what it waits for and from whom; empty if nobody is known to be ahead."""
        if not self._is_downloading:
            return ""
        trouble = ""
        if self._troubles:
            peer, reason = next(reversed(self._troubles.items()))
            trouble = f"; last trouble: {peer}: {reason}"
        return self._download.describe() + trouble

    @property
    def is_level(self) -> bool:
        """Whether a peer has told us how far it is, and what it has more than we is here."""
        return self._has_looked and not self._is_downloading

    async def run(self) -> None:
        """Look whenever there is a hint, and from time to time."""
        height_before = self._ledger.final_head.height
        while True:
            await trio.sleep(LEAST_PAUSE)
            with trio.move_on_after(self._poll_interval):
                await self._wake.wait()
            self._wake = trio.Event()
            ahead = await self._claims(self._candidates())
            height = self._ledger.final_head.height
            # One block behind is what a healthy node is half of the time; standing still while others do
            # not is not.
            gap = 1 if height == height_before else 2
            if max(ahead.values(), default=0) >= height + gap:
                await self._catch_up(ahead)
            self._has_looked = self._has_looked or bool(ahead)
            height_before = self._ledger.final_head.height

    async def _catch_up(self, ahead: dict[PeerId, int]) -> None:
        """Fetch from whoever is ahead; if that is far, from as many as possible."""
        if max(ahead.values()) >= self._ledger.final_head.height + FAR:
            others = [peer for peer in self._in_turn() if peer not in ahead]
            ahead |= await self._claims(others[: SOURCES - len(ahead)])
        known = set(self._network.peers())
        for peer in [peer for peer in self._troubles if peer not in known]:
            del self._troubles[peer]
        self._is_downloading = True
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._look_on)
                await self._download.run(ahead)
                nursery.cancel_scope.cancel()
        finally:
            self._is_downloading = False

    async def _look_on(self) -> None:
        """While blocks come in, ask others in turn how far they are: who claims most must not be alone."""
        while True:
            await trio.sleep(self._poll_interval)
            self._download.tell(await self._claims(self._in_turn()[:SOURCES]))
            self._turn += SOURCES

    async def _claims(self, peers: Sequence[PeerId]) -> dict[PeerId, int]:
        """How far peers say they are, asked all at once."""
        claims: dict[PeerId, int] = {}

        async def ask(peer: PeerId) -> None:
            status = await self._status(peer)
            if status is not None:
                claims[peer] = status.height

        async with trio.open_nursery() as nursery:
            for peer in peers:
                nursery.start_soon(ask, peer)
        return {peer: claims[peer] for peer in peers if peer in claims}

    def _candidates(self) -> tuple[PeerId, ...]:
        peers = self._in_turn()
        hinted = [peer for peer in self._hints if peer in peers]
        self._hints.clear()
        others = [peer for peer in peers if peer not in hinted]
        asked = (hinted + others)[:ASKED_PEERS]
        self._turn += len(asked) - len(hinted)
        return tuple(asked)

    def _in_turn(self) -> tuple[PeerId, ...]:
        """All peers, whose turn it is first."""
        peers = self._network.peers()
        start = self._turn % max(len(peers), 1)
        return peers[start:] + peers[:start]

    async def _status(self, peer: PeerId) -> Status | None:
        try:
            answer = await self._network.request(
                peer, STATUS, b"", timeout=self._request_timeout, limit=MAX_STATUS
            )
            return decode(Status, answer, limit=MAX_STATUS)
        except RequestFailed as failure:
            log.info("event=status_failed peer=%s reason=%s", peer, failure)
        except DecodeError as error:
            self._network.report(peer, f"malformed status: {error}", weight=LIE_WEIGHT)
        return None

    async def _answer_status(self, _peer: PeerId, _payload: bytes) -> bytes:
        await trio.lowlevel.checkpoint()
        head = self._ledger.final_head
        return encode(Status(head.height, head.digest, self._ledger.params.epoch_of(head.height + 1)))

    async def _answer_blocks(self, peer: PeerId, payload: bytes) -> bytes:
        await trio.lowlevel.checkpoint()
        try:
            request = decode(BlocksRequest, payload, limit=MAX_REQUEST)
        except DecodeError as error:
            raise RequestRefused(str(error)) from error
        batch = await self._desk.serve(peer, batch_steps(self._ledger, request))
        if batch is not None:
            return batch
        first = self._ledger.first_block
        if request.first < first:
            raise RequestRefused(f"height {request.first} lies before {first}, this node's first block")
        raise RequestRefused(f"height {request.first} is not final here")
