"""S8: asks for missing bodies and certificates, first those peers that seem to have signed them.

Who signed is known of whoever brought the vote, and anybody may bring it: so only half of the peers that a
fetch asks are chosen by that, the others by turns. Whatever strangers pretend, in the end all are asked.

Memory bound: `MAX_IN_FLIGHT` answers, each of no more bytes than the blocks asked for may have.
"""

import logging
from collections.abc import Awaitable, Callable, Generator
from typing import Final

import trio

from chain.codec import decode, encode
from chain.msgpack_reader import DecodeError
from chain.types.block import Block
from consensus.messages import Certificate
from consensus.simplex.effects import Fetch
from consensus.sync.batch import body_matches
from consensus.sync.requests import (
    CERTIFICATE_BYTES,
    FETCH,
    LIE_WEIGHT,
    MAX_ANSWER,
    MAX_REQUEST,
    FetchRequest,
    FetchResponse,
)
from consensus.sync.serving import Desk
from p2p.network import Network, PeerId, RequestFailed, RequestRefused

log = logging.getLogger(__name__)

TRIED_PEERS: Final = 4
"""Peers that one fetch asks, one after the other; the protocol asks again when it re-sends."""

MAX_IN_FLIGHT: Final = 16
"""Fetches at a time, and so questions that one peer may have to answer us."""

_ARRAY_HEADS: Final = 16
"""More than the heads of an answer's arrays take."""

Found = Callable[[PeerId, Fetch, tuple[Block, ...], tuple[Certificate, ...]], Awaitable[None]]
Answering = Callable[[FetchRequest], Generator[None, None, bytes]]
"""Makes the encoded `FetchResponse` of what is here of a question, a step at a time."""


class Fetcher:
    """Questions in flight, and answers to those of others."""

    def __init__(
        self, network: Network, *, found: Found, shelf: Answering, timeout: float, max_block_bytes: int
    ) -> None:
        """Ask and answer.

        Args:
            network: Whom to ask.
            found: Takes bodies that are what was asked for, and certificates that nobody has checked yet.
            shelf: See `consensus.shelf`.
            timeout: Seconds for one question to one peer.
            max_block_bytes: The chain's: no certificate leads to a block that is larger.
        """
        self._network = network
        self._found = found
        self._shelf = shelf
        self._desk = Desk("missing blocks", is_kept=network.is_kept, each=MAX_IN_FLIGHT)
        self._timeout = timeout
        self._max_block_bytes = max_block_bytes
        self._peer_of: dict[bytes, PeerId] = {}
        self._in_flight: set[tuple[tuple[bytes, ...], int, int]] = set()
        self._turn = 0

    def register(self) -> None:
        """Answer other nodes."""
        self._network.set_handler(FETCH, self._answer, limit=MAX_REQUEST)

    def learn(self, key: bytes, peer: PeerId) -> None:
        """``peer`` sent a vote signed by ``key``: most likely it is that validator."""
        self._peer_of[key] = peer

    def forget_keys(self) -> None:
        """A new epoch has other validators."""
        self._peer_of.clear()

    async def fetch(self, wanted: Fetch) -> None:
        """Ask until somebody has an answer, or a few peers had none."""
        key = (wanted.digests, wanted.first_view, wanted.end_view)
        if key in self._in_flight or len(self._in_flight) >= MAX_IN_FLIGHT:
            return
        self._in_flight.add(key)
        try:
            for peer in self._targets(wanted):
                response = await self._ask(peer, wanted)
                if response is not None and (response.blocks or response.certificates):
                    await self._found(peer, wanted, response.blocks, response.certificates)
                    return
        finally:
            self._in_flight.discard(key)

    def _targets(self, wanted: Fetch) -> list[PeerId]:
        peers = self._network.peers()
        holders = [self._peer_of[key] for key in wanted.holders if key in self._peer_of]
        likely = list(dict.fromkeys(peer for peer in holders if peer in peers))[: TRIED_PEERS // 2]
        start = self._turn % max(len(peers), 1)
        others = [peer for peer in peers[start:] + peers[:start] if peer not in likely]
        others = others[: TRIED_PEERS - len(likely)]
        self._turn += len(others)
        return likely + others

    def _most_bytes(self, wanted: Fetch) -> int:
        """Of an honest answer; more is not even read."""
        bodies = len(wanted.digests) * self._max_block_bytes
        certificates = CERTIFICATE_BYTES if wanted.first_view < wanted.end_view else 0
        return min(bodies + certificates + _ARRAY_HEADS, MAX_ANSWER)

    async def _ask(self, peer: PeerId, wanted: Fetch) -> FetchResponse | None:
        request = FetchRequest(wanted.digests, wanted.epoch, wanted.first_view, wanted.end_view)
        limit = self._most_bytes(wanted)
        try:
            answer = await self._network.request(
                peer, FETCH, encode(request), timeout=self._timeout, limit=limit
            )
            response = decode(FetchResponse, answer, limit=limit)
        except RequestFailed as failure:
            log.info("event=fetch_failed peer=%s reason=%s", peer, failure)
            return None
        except DecodeError as error:
            self._network.report(peer, f"malformed answer to a fetch: {error}", weight=LIE_WEIGHT)
            return None
        for block in response.blocks:
            if block.digest not in wanted.digests or not body_matches(block):
                self._network.report(
                    peer, f"block {block.digest.hex()} is not what was asked for", weight=LIE_WEIGHT
                )
                return None
        return response

    async def _answer(self, peer: PeerId, payload: bytes) -> bytes:
        await trio.lowlevel.checkpoint()
        try:
            request = decode(FetchRequest, payload, limit=MAX_REQUEST)
        except DecodeError as error:
            raise RequestRefused(str(error)) from error
        return await self._desk.serve(peer, self._shelf(request))
