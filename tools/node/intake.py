"""What peers hand in is taken in turn, for a share of the node's time and no more.

    frames ──► a bounded queue a peer ──► one peer after the other, a slice each ──► mempool

A transaction costs whoever sends it nothing until it is in a block, and us the reading, the hashing and a
signature; so one peer could fill a processor with what is worth nothing. Here all peers together get one part
in `SHARE` of the time, and of that each that has something waiting the same: a peer that sends without end
slows down itself, and neither consensus nor the transactions of others. What is waiting is bounded in bytes,
by peer and in all; a frame that finds no room is dropped and counted under its reason. Its transactions are
not lost: they wait in the mempools of whoever took them, and their makers send them again.

Nothing dearer than a signature is ever done for a message. The cells of a proof are recomputed when a block
that holds it is executed: its sender has then paid for every byte and every cell of it, the weight of a block
bounds them all together (`chain/execution/block.py`), and an open commit whose draw is due stands behind it
(`chain/execution/proofs.py`), or it is refused before its first byte is decoded.
"""

import enum
import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from typing import Final

import trio

from p2p.network import Inbound, PeerId

_log = logging.getLogger(__name__)

SHARE: Final = 3
"""Taking transactions in uses at most one part in so many of this machine's time."""

SLICE_SECONDS: Final = 0.005
"""After so much of it, it is the next peer's turn, and everything else's."""

PEER_BYTES: Final = 2 << 20
"""Bytes of one peer that may wait, unless it is a single frame."""

ALL_BYTES: Final = 32 << 20
"""Bytes that may wait in all."""


class Drop(enum.Enum):
    """Why a frame was not taken."""

    PEER_QUEUE_FULL = "peer_queue_full"
    """Its sender has handed in faster than its share of the time allows."""
    INTAKE_FULL = "intake_full"
    """All peers together have."""


class Intake:
    """Frames that wait for their turn; `take` makes the steps that one of them needs."""

    def __init__(
        self, take: Callable[[Inbound], Iterator[None]], *, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        """``clock`` tells what a slice costs, in seconds; only differences matter."""
        self._take, self._clock = take, clock
        self._waiting: dict[PeerId, deque[Inbound]] = {}
        """By peer; the first is whose turn it is."""
        self._bytes: Counter[PeerId] = Counter()
        self._running: dict[PeerId, Iterator[None]] = {}
        self._arrived = trio.Event()
        self.dropped: Counter[Drop] = Counter()
        """Frames not taken, by reason."""

    def put(self, frame: Inbound) -> Drop | None:
        """Queue a frame; why not, if there is no room for it."""
        size, peer, reason = len(frame.payload), frame.peer, None
        if self._bytes[peer] and self._bytes[peer] + size > PEER_BYTES:
            reason = Drop.PEER_QUEUE_FULL
        elif self._bytes.total() + size > ALL_BYTES:
            reason = Drop.INTAKE_FULL
        if reason is not None:
            self.dropped[reason] += 1
            _log.debug("transactions dropped peer=%s bytes=%d reason=%s", peer, size, reason.value)
            return reason
        self._waiting.setdefault(peer, deque()).append(frame)
        self._bytes[peer] += size
        self._arrived.set()
        return None

    async def run(self) -> None:
        """Take frames in for ever."""
        while True:
            await self._arrived.wait()
            while self._waiting:
                spent = self._slice()
                # At the least a checkpoint: whatever else the node has to do comes between two slices.
                await trio.sleep((SHARE - 1) * spent)
            self._arrived = trio.Event()

    def _slice(self) -> float:
        """Work for the peer whose turn it is, and put it behind the others; returns the seconds it took."""
        peer = next(iter(self._waiting))
        frames, began, spent = self._waiting.pop(peer), self._clock(), 0.0
        while frames and spent < SLICE_SECONDS:
            if peer not in self._running:
                self._running[peer] = self._take(frames[0])
            if not _step(self._running[peer]):
                del self._running[peer]
                self._bytes[peer] -= len(frames.popleft().payload)
            spent = self._clock() - began
        if frames:
            self._waiting[peer] = frames
        else:
            del self._bytes[peer]
        return spent


def _step(steps: Iterator[None]) -> bool:
    """Take one step; False if there is none left."""
    try:
        next(steps)
    except StopIteration:
        return False
    return True
