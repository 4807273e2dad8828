"""Fetching final blocks from several peers at once, a bounded window ahead of what is verified.

```
 ranges of heights ──► one question a peer ──► window of answers ──► in order: check, deliver
      ▲                        │                     │
      └── not brought, wrong, or too slow: asked of another ──────┘
```

None of the peers is believed. Answers wait unchecked, but bounded: at most `WINDOW` of `MAX_ANSWER` bytes.
Each is checked when its turn comes, with one certificate for the whole of it, and whoever sent a wrong one is
reported and asked no more. A peer that is silent, slow or brings little is asked for less, and others are
asked for the same when everybody waits for it.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

import trio

from chain.codec import decode, encode
from chain.msgpack_reader import DecodeError
from chain.types.block import Block
from consensus.ledger import Ledger
from consensus.messages import Certificate
from consensus.sync.batch import Anchor, BatchError, check_batch, check_shape
from consensus.sync.requests import (
    BLOCKS,
    HEDGE_SHARE,
    LIE_WEIGHT,
    MAX_ANSWER,
    MAX_BLOCKS,
    STALL_WEIGHT,
    BlocksRequest,
    BlocksResponse,
)
from p2p.network import Network, PeerId, RequestFailed

log = logging.getLogger(__name__)

ASKED_BLOCKS: Final = 16
"""Blocks in a first question; peers that bring all of them are asked for more."""

WINDOW: Final = 8
"""Ranges that are asked for or wait to be checked."""

MAX_FAILURES: Final = 3
"""Questions in a row without an answer of use, after which a peer is left alone until the next look."""

TRICKLE: Final = 1 << 16
"""Bytes: who brings fewer, late, and not all that was asked for, draws things out, however slow its line."""

_PAUSE: Final = 0.25

Deliver = Callable[[tuple[Block, ...], Certificate], Awaitable[None]]
"""Makes verified blocks final; the certificate is the last one's. Returns when it is done."""


@dataclass(slots=True)
class _Range:
    """Consecutive heights of one epoch."""

    first: int
    last: int
    peer: PeerId | None = None
    """Who was asked; None if nobody is."""
    since: float = 0.0
    batch: BlocksResponse | None = None
    """The answer, structurally sound and otherwise unchecked."""


@dataclass(slots=True)
class _Source:
    """What is known of a peer."""

    claim: int
    """Height that it says it has."""
    size: int = ASKED_BLOCKS
    """Blocks to ask it for."""
    failures: int = 0
    gone: bool = False


@dataclass(slots=True)
class Download:
    """One run from the final head to what peers claim."""

    network: Network
    ledger: Ledger
    deliver: Deliver
    timeout: float
    troubles: dict[PeerId, str]
    """The latest trouble with each peer, in the order in which they came."""
    pending: list[Block] = field(default_factory=list)
    """Proven final, but not yet up to a block with a certificate of its own; whoever sent them."""
    _sources: dict[PeerId, _Source] = field(default_factory=dict)
    _nursery: trio.Nursery | None = None
    """Of the run, while there is one."""
    _ranges: dict[int, _Range] = field(default_factory=dict)
    _changed: trio.Event = field(default_factory=trio.Event)
    _height: int = 0
    """Up to which all is checked."""

    async def run(self, claims: Mapping[PeerId, int]) -> None:
        """Fetch what these peers claim to have, until it is here or none of them helps."""
        self._sources = {}
        self._ranges = {}
        self._height = self._anchor().height
        async with trio.open_nursery() as self._nursery:
            self.tell(claims)
            while self._can_go_on((anchor := self._anchor()).height):
                await self._advance(anchor)
            self._nursery.cancel_scope.cancel()
        self._nursery = None

    def tell(self, claims: Mapping[PeerId, int]) -> None:
        """How far peers say they are now; of no use while nothing is fetched.

        The chain grows in the meantime: who had nothing more to give may have it now. If it were not asked,
        whoever claims most would be asked alone, and might take its time.
        """
        if self._nursery is None:
            return
        for peer, claim in claims.items():
            if peer in self._sources:
                self._sources[peer].claim = claim
            else:
                self._sources[peer] = _Source(claim)
                self._nursery.start_soon(self._ask_for_ranges, peer)
        self._notify()

    def describe(self) -> str:
        """How far it is, and what it waits for."""
        claims = [(source.claim, peer) for peer, source in self._sources.items() if not source.gone]
        target, by = max(claims, default=(0, "nobody"))
        head = self._head()
        if head is None or head.batch is not None:
            doing = "executes blocks"
        elif head.peer is None:
            doing = f"has nobody to ask for height {head.first}"
        else:
            doing = f"waits for blocks {head.first} to {head.last} from {head.peer}"
        here = sum(known.batch is not None for known in self._ranges.values())
        return f"height {self._height} of {target} that {by} claims; {doing}; {here} later batches are here"

    def _can_go_on(self, height: int) -> bool:
        return any(source.claim > height and not source.gone for source in self._sources.values())

    def _anchor(self) -> Anchor:
        """What the next batch must continue; what is pending is dropped if the chain moved past it."""
        params, head = self.ledger.params, self.ledger.final_head
        if self.pending and self.pending[0].header.parent != head.digest:
            self.pending.clear()
        header = self.pending[-1].header if self.pending else head
        epoch = params.epoch_of(header.height + 1)
        return Anchor(
            header.height, header.digest, epoch, self.ledger.committee(epoch), params.last_height(epoch)
        )

    async def _advance(self, anchor: Anchor) -> None:
        """Check and deliver the next batch if it is here, else wait for something to happen."""
        self._height = anchor.height
        for first in [first for first, known in self._ranges.items() if first <= anchor.height]:
            known = self._ranges.pop(first)
            if known.last > anchor.height:
                self._ranges.setdefault(anchor.height + 1, _Range(anchor.height + 1, known.last))
        if self._ranges and min(self._ranges) > anchor.height + 1:
            self._ranges.clear()
        head = self._ranges.get(anchor.height + 1)
        if head is None or head.batch is None:
            with trio.move_on_after(self.timeout / HEDGE_SHARE):
                await self._changed.wait()
            return
        del self._ranges[head.first]
        assert head.peer is not None, "an answer from nobody"
        try:
            check_batch(head.batch, anchor, chain_id=self.ledger.params.chain_id)
        except BatchError as error:
            self._ranges[head.first] = _Range(head.first, head.last)
            self._lie(head.peer, f"bad batch after height {anchor.height}: {error}")
            return
        self.pending += head.batch.blocks
        self._height = self.pending[-1].header.height
        self._notify()
        await trio.lowlevel.checkpoint()
        if not head.batch.bridge:
            blocks = tuple(self.pending)
            self.pending.clear()
            await self.deliver(blocks, head.batch.certificate)
            log.info("event=synced peer=%s height=%d", head.peer, blocks[-1].header.height)

    async def _ask_for_ranges(self, peer: PeerId) -> None:
        source = self._sources[peer]
        while not source.gone:
            wanted = self._take(peer, source)
            if wanted is None:
                with trio.move_on_after(self.timeout / HEDGE_SHARE):
                    await self._changed.wait()
                continue
            first, last = wanted
            batch = await self._ask(peer, source, first, last)
            if batch is not None:
                self._put(peer, source, batch, asked=last - first + 1)
            self._give_back(peer, first)
            if batch is None and not source.gone:
                await trio.sleep(_PAUSE * source.failures)

    def _take(self, peer: PeerId, source: _Source) -> tuple[int, int] | None:
        """The heights to ask a peer for now."""
        now = trio.current_time()
        known = next((k for k in self._in_order() if k.peer is None and k.first <= source.claim), None)
        if known is None:
            known = self._next_range(source)
        if known is not None:
            last = min(known.last, source.claim, known.first + source.size - 1)
            if last < known.last:
                self._ranges[last + 1] = _Range(last + 1, known.last)
                known.last = last
            known.peer, known.since = peer, now
            return known.first, known.last
        head = self._head()
        if head is None or head.batch is not None or head.peer == peer or head.first > source.claim:
            return None
        if now < head.since + self.timeout / HEDGE_SHARE:
            return None
        head.since = now
        return head.first, head.last

    def _next_range(self, source: _Source) -> _Range | None:
        """Open the range above all others, if the window has room and the peer claims to have it."""
        if len(self._ranges) >= WINDOW:
            return None
        first = max((known.last for known in self._ranges.values()), default=self._height) + 1
        if first > source.claim:
            return None
        params = self.ledger.params
        last = min(first + source.size - 1, source.claim, params.last_height(params.epoch_of(first)))
        known = self._ranges[first] = _Range(first, last)
        return known

    async def _ask(self, peer: PeerId, source: _Source, first: int, last: int) -> BlocksResponse | None:
        request = encode(BlocksRequest(first, last - first + 1))
        late = trio.current_time() + self.timeout / HEDGE_SHARE
        try:
            answer = await self.network.request(peer, BLOCKS, request, timeout=self.timeout, limit=MAX_ANSWER)
            batch = decode(BlocksResponse, answer, limit=MAX_ANSWER)
            check_shape(batch, first, last)
        except RequestFailed as failure:
            self._fail(peer, source, first, str(failure))
            return None
        except (DecodeError, BatchError) as error:
            self._lie(peer, f"bad batch for heights {first} to {last}: {error}")
            return None
        brought_all = len(batch.blocks) == last - first + 1
        if trio.current_time() <= late or brought_all or len(answer) >= TRICKLE:
            source.failures = 0
        else:
            source.failures += 1
            source.gone = source.failures >= MAX_FAILURES
        return batch

    def _put(self, peer: PeerId, source: _Source, batch: BlocksResponse, *, asked: int) -> None:
        """Keep an answer until its turn comes, unless another was quicker."""
        brought = len(batch.blocks)
        source.size = min(MAX_BLOCKS, 2 * source.size if brought == asked else brought + 1)
        known = self._ranges.get(batch.blocks[0].header.height)
        if known is None or known.batch is not None:
            return
        last = batch.blocks[-1].header.height
        if last < known.last:
            self._ranges[last + 1] = _Range(last + 1, known.last)
        if known.peer is not None and known.peer != peer:
            self._sources[known.peer].failures += 1
            self._trouble(known.peer, f"height {known.first} came sooner from {peer}, who was asked later")
        known.last, known.batch, known.peer = min(last, known.last), batch, peer
        self._notify()

    def _give_back(self, peer: PeerId, first: int) -> None:
        known = self._ranges.get(first)
        if known is not None and known.batch is None and known.peer == peer:
            known.peer = None
            self._notify()

    def _fail(self, peer: PeerId, source: _Source, height: int, reason: str) -> None:
        """A peer did not bring what it claims to have."""
        source.failures += 1
        is_alone = len([s for s in self._sources.values() if not s.gone]) == 1
        # What nobody else claims and it does not bring is most likely not there.
        if source.failures >= MAX_FAILURES or not (is_alone or self._claimed_by_others(peer, height)):
            source.gone = True
        self._trouble(peer, f"claims height {source.claim}, did not bring height {height}: {reason}")
        self.network.report(peer, self.troubles[peer], weight=STALL_WEIGHT)
        log.info("event=sync_stopped peer=%s height=%d reason=%s", peer, height, reason)

    def _claimed_by_others(self, peer: PeerId, height: int) -> bool:
        return any(s.claim >= height for other, s in self._sources.items() if other != peer and not s.gone)

    def _lie(self, peer: PeerId, reason: str) -> None:
        """A peer sent what no honest one sends: nothing that it sent is used."""
        log.warning("event=sync_lie peer=%s reason=%s", peer, reason)
        self._sources[peer].gone = True
        for known in self._ranges.values():
            if known.peer == peer:
                known.peer = known.batch = None
        self._trouble(peer, reason)
        self.network.report(peer, reason, weight=LIE_WEIGHT)

    def _trouble(self, peer: PeerId, reason: str) -> None:
        self.troubles.pop(peer, None)
        self.troubles[peer] = reason
        self._notify()

    def _in_order(self) -> list[_Range]:
        return [self._ranges[first] for first in sorted(self._ranges)]

    def _head(self) -> _Range | None:
        return self._ranges[min(self._ranges)] if self._ranges else None

    def _notify(self) -> None:
        self._changed.set()
        self._changed = trio.Event()
