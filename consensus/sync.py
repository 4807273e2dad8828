"""Catching up: final blocks from peers, none of whom is believed.

A batch is good if its headers chain from our own final head to a block that the committee we computed
ourselves has finalized, and each body is the one its header names. It never crosses the end of an epoch,
because the next committee is known only once the last block of an epoch has been executed here.
"""

import enum
import logging
from collections.abc import Awaitable, Callable, Generator, Sequence
from dataclasses import dataclass

import trio

from chain.codec import decode, encode
from chain.msgpack_reader import DecodeError
from chain.types.block import Block, Header, transactions_root
from chain.types.committee import Committee
from chain.types.statement import Kind
from consensus.ledger import Ledger
from consensus.messages import Certificate, CertificateError
from consensus.requests import (
    BLOCKS,
    LIE_WEIGHT,
    MAX_ANSWER,
    MAX_BLOCKS,
    MAX_REQUEST,
    MAX_STATUS,
    STATUS,
    BlocksRequest,
    BlocksResponse,
    Status,
)
from p2p.network import Network, PeerId, RequestFailed, RequestRefused

log = logging.getLogger(__name__)

LEAST_PAUSE = 0.2
"""Seconds between two looks, whatever hints peers give: a hint costs them nothing."""

ASKED_BLOCKS = 16
"""Blocks in one question: what is executed in one go when it is answered."""

ASKED_PEERS = 3
"""Peers whose status one poll asks for."""

HINTED_PEERS = ASKED_PEERS - 1
"""Peers among them that asked for it by a hint: one place is always for whoever's turn it is."""

FOLLOW_TIMEOUTS = 2
"""Request time-outs that one peer is followed for before the others get their turn: whoever claims to be far
ahead and then hands out a block a time-out would keep us behind for ever."""

SERVING_SHARE = 4
"""Answering takes at most one part in so many of this machine's time: a question of three bytes can cost it
the reading of megabytes."""

SERVED_PEERS = 8
"""Questions for blocks that may wait for their turn: whoever comes later asks another peer."""

_BATCH_BYTES = MAX_ANSWER - (1 << 20)


class BatchFault(enum.Enum):
    """Why a batch was refused; all of them are lies or damage, never bad luck."""

    EMPTY = "empty"
    WRONG_HEIGHT = "wrong_height"
    BROKEN_CHAIN = "broken_chain"
    WRONG_EPOCH = "wrong_epoch"
    WRONG_BODY = "wrong_body"
    WRONG_CERTIFICATE = "wrong_certificate"
    BAD_CERTIFICATE = "bad_certificate"


class BatchError(Exception):
    """A batch that proves nothing."""

    def __init__(self, reason: BatchFault, message: str) -> None:
        super().__init__(f"{reason.value}: {message}")
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Anchor:
    """The block that a batch must continue, and who may certify it."""

    height: int
    digest: bytes
    epoch: int
    """Of the next height."""
    committee: Committee
    """Of that epoch."""
    last_height: int
    """Of that epoch."""


def check_batch(batch: BlocksResponse, anchor: Anchor, *, chain_id: str) -> None:
    """Check that the blocks of ``batch`` are the final ones after ``anchor``; the ledger executes them later.

    Raises:
        BatchError: With any of the reasons of `BatchFault`, cheapest checks first.
    """
    if not batch.blocks:
        raise BatchError(BatchFault.EMPTY, "no blocks")
    headers = [block.header for block in batch.blocks] + list(batch.bridge)
    expected, parent = anchor.height + 1, anchor.digest
    for header in headers:
        if header.height != expected or header.height > anchor.last_height:
            raise BatchError(
                BatchFault.WRONG_HEIGHT,
                f"height {header.height}, expected {expected}, at most {anchor.last_height}",
            )
        if header.epoch != anchor.epoch:
            raise BatchError(BatchFault.WRONG_EPOCH, f"epoch {header.epoch}, expected {anchor.epoch}")
        if header.parent != parent:
            raise BatchError(
                BatchFault.BROKEN_CHAIN, f"height {header.height} does not follow {parent.hex()}"
            )
        expected, parent = expected + 1, header.digest
    certificate = batch.certificate
    if (certificate.kind, certificate.epoch, certificate.digest) != (Kind.FINALIZE, anchor.epoch, parent):
        raise BatchError(
            BatchFault.WRONG_CERTIFICATE,
            f"{certificate.kind.name} of {certificate.digest.hex()} in epoch {certificate.epoch}, expected "
            f"FINALIZE of {parent.hex()} in epoch {anchor.epoch}",
        )
    try:
        certificate.verify(anchor.committee, chain_id)
    except CertificateError as error:
        raise BatchError(BatchFault.BAD_CERTIFICATE, str(error)) from error
    for block in batch.blocks:
        if not body_matches(block):
            raise BatchError(BatchFault.WRONG_BODY, f"the body of height {block.header.height} is another's")


def body_matches(block: Block) -> bool:
    """Whether the transactions are those of the header: only then does the digest name the body."""
    return transactions_root(block.transactions) == block.header.transactions_root


def make_batch(ledger: Ledger, request: BlocksRequest) -> BlocksResponse | None:
    """The longest provable run from ``request.first``, or None if that height is not final here."""
    steps = batch_steps(ledger, request)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            batch: BlocksResponse | None = end.value
            return batch


def batch_steps(ledger: Ledger, request: BlocksRequest) -> Generator[None, None, BlocksResponse | None]:
    """What `make_batch` does, with a halt after each block that is read."""
    params = ledger.params
    if not 1 <= request.first <= ledger.final_head.height:
        return None
    end = min(params.last_height(params.epoch_of(request.first)), ledger.final_head.height)
    end = min(end, request.first + min(request.count, MAX_BLOCKS) - 1)
    blocks: list[Block] = []
    size = 0
    for height in range(request.first, end + 1):
        block = ledger.final_block(height)
        assert block is not None, f"final height {height} is not in the ledger"
        size += len(encode(block))
        if blocks and size > _BATCH_BYTES:
            break
        blocks.append(block)
        yield
    if not blocks:
        return None
    for kept in range(len(blocks), 0, -1):
        certificate = ledger.finalization(request.first + kept - 1)
        if certificate is not None and certificate.digest == blocks[kept - 1].digest:
            return BlocksResponse(tuple(blocks[:kept]), (), certificate)
    return (yield from _with_bridge(ledger, blocks))


def _with_bridge(ledger: Ledger, blocks: Sequence[Block]) -> Generator[None, None, BlocksResponse]:
    """No block of the run has a finalization of its own: lead on, by headers, to the one that has."""
    height = blocks[-1].header.height
    certificate = ledger.finalization(height)
    assert certificate is not None, f"final height {height} has no certificate above it"
    bridge: list[Header] = []
    while not bridge or bridge[-1].digest != certificate.digest:
        height += 1
        block = ledger.final_block(height)
        assert block is not None, "the certified descendant of a final block is not in the ledger"
        bridge.append(block.header)
        yield
    return BlocksResponse(tuple(blocks), tuple(bridge), certificate)


Deliver = Callable[[tuple[Block, ...], Certificate], Awaitable[None]]
"""Makes verified blocks final; the certificate is the last one's. Returns when it is done."""


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
        self._deliver = deliver
        self._request_timeout = request_timeout
        self._poll_interval = poll_interval
        self._hints: dict[PeerId, None] = {}
        self._wake = trio.Event()
        self._turn = 0
        self._pending: list[Block] = []
        """Proven final, but not yet up to a block with a certificate of its own; whoever sent them."""
        self._serving = trio.Lock()
        self._asking: set[PeerId] = set()

    def register(self) -> None:
        """Answer other nodes."""
        self._network.set_handler(STATUS, self._answer_status, limit=MAX_REQUEST)
        self._network.set_handler(BLOCKS, self._answer_blocks, limit=MAX_REQUEST)

    def hint(self, peer: PeerId) -> None:
        """``peer`` seems to be ahead of us: look now."""
        if len(self._hints) < HINTED_PEERS:
            self._hints[peer] = None
        self._wake.set()

    async def run(self) -> None:
        """Look whenever there is a hint, and from time to time."""
        height_before = self._ledger.final_head.height
        while True:
            await trio.sleep(LEAST_PAUSE)
            with trio.move_on_after(self._poll_interval):
                await self._wake.wait()
            self._wake = trio.Event()
            candidates = self._candidates()
            ahead = [(s.height, peer) for peer in candidates if (s := await self._status(peer)) is not None]
            height = self._ledger.final_head.height
            # One block behind is what a healthy node is half of the time; standing still while others do
            # not is not.
            gap = 1 if height == height_before else 2
            for claimed, peer in sorted(ahead, reverse=True):
                if claimed >= self._ledger.final_head.height + gap:
                    await self._follow(peer, claimed)
            height_before = self._ledger.final_head.height

    def _candidates(self) -> tuple[PeerId, ...]:
        peers = self._network.peers()
        hinted = [peer for peer in self._hints if peer in peers]
        self._hints.clear()
        start = self._turn % max(len(peers), 1)
        others = [peer for peer in peers[start:] + peers[:start] if peer not in hinted]
        asked = (hinted + others)[:ASKED_PEERS]
        self._turn += len(asked) - len(hinted)
        return tuple(asked)

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

    async def _follow(self, peer: PeerId, claimed: int) -> None:
        """Take batches from ``peer`` up to the height it claimed, or until it fails, lies or is slow."""
        until = trio.current_time() + FOLLOW_TIMEOUTS * self._request_timeout
        while trio.current_time() < until:
            anchor = self._anchor(self._pending)
            if anchor is None:
                self._pending = []
                continue
            if anchor.height >= claimed:
                return
            request = encode(BlocksRequest(anchor.height + 1, ASKED_BLOCKS))
            try:
                answer = await self._network.request(
                    peer, BLOCKS, request, timeout=self._request_timeout, limit=MAX_ANSWER
                )
                batch = decode(BlocksResponse, answer, limit=MAX_ANSWER)
                check_batch(batch, anchor, chain_id=self._ledger.params.chain_id)
            except RequestFailed as failure:
                log.info("event=sync_stopped peer=%s height=%d reason=%s", peer, anchor.height, failure)
                return
            except (DecodeError, BatchError) as error:
                log.warning("event=sync_lie peer=%s height=%d reason=%s", peer, anchor.height, error)
                self._network.report(
                    peer, f"bad batch after height {anchor.height}: {error}", weight=LIE_WEIGHT
                )
                return
            self._pending += batch.blocks
            if not batch.bridge:
                blocks, self._pending = tuple(self._pending), []
                await self._deliver(blocks, batch.certificate)
                log.info("event=synced peer=%s height=%d", peer, blocks[-1].header.height)
        # There was more to come: look again at once, at others too.
        self._wake.set()

    def _anchor(self, pending: Sequence[Block]) -> Anchor | None:
        """What the next batch must continue; None if the chain moved past what is pending."""
        params, head = self._ledger.params, self._ledger.final_head
        if pending and pending[0].header.parent != head.digest:
            return None
        header = pending[-1].header if pending else head
        epoch = params.epoch_of(header.height + 1)
        return Anchor(
            header.height, header.digest, epoch, self._ledger.committee(epoch), params.last_height(epoch)
        )

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
        if peer in self._asking:
            raise RequestRefused("one question for blocks at a time")
        if len(self._asking) >= SERVED_PEERS:
            raise RequestRefused(f"{SERVED_PEERS} peers wait for blocks already")
        self._asking.add(peer)
        try:
            async with self._serving:
                batch = await self._paced(batch_steps(self._ledger, request))
        finally:
            self._asking.discard(peer)
        if batch is None:
            raise RequestRefused(f"height {request.first} is not final here")
        return encode(batch)

    async def _paced(self, steps: Generator[None, None, BlocksResponse | None]) -> BlocksResponse | None:
        """Take one step at a time, and give the node its share of the time after each."""
        while True:
            started = trio.current_time()
            try:
                next(steps)
            except StopIteration as end:
                batch: BlocksResponse | None = end.value
                return batch
            await trio.sleep((SERVING_SHARE - 1) * (trio.current_time() - started))
