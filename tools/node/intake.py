"""What peers hand in is taken in turn, for a share of the node's time and no more.

    frames ──► a bounded queue a peer ──► one peer after the other, a slice each ──► mempool

A transaction costs whoever sends it nothing until it is in a block, and us the reading, the hashing and a
signature; so one peer could fill a processor with what is worth nothing. Here all peers together get one part
in `SHARE` of the time, and of that each that has something waiting the same: a peer that sends without end
slows down itself, and neither consensus nor the transactions of others. What is waiting is bounded in bytes,
by peer and in all. When all is full, whoever has most waiting gives way to whoever would have less: many
peers together keep nobody out. A frame that finds no room, or loses it, is dropped and counted under its
reason. Its transactions are not lost: they wait in the mempools of whoever took them, and their makers send
them again.

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

FRAME_BYTES: Final = 256
"""Counted for a frame beside its payload: no flood of empty ones takes memory that nobody counts."""

CLASS_BYTES: Final = 1 << 14
"""Peers whose waiting bytes differ by less may be taken for equal when one has to give way."""


class Drop(enum.Enum):
    """Why a frame was not taken."""

    PEER_QUEUE_FULL = "peer_queue_full"
    """Its sender has handed in faster than its share of the time allows."""
    INTAKE_FULL = "intake_full"
    """All peers together have, and no other has more waiting."""
    GAVE_WAY = "gave_way"
    """The same, and its sender had most waiting when another came that had less."""


class Waiting:
    """Frames by peer, with the bytes that wait; who has most of them is found without asking everybody."""

    def __init__(self) -> None:
        self.frames: dict[PeerId, deque[Inbound]] = {}
        """By peer; the first is whose turn it is."""
        self.total = 0
        self._bytes: dict[PeerId, int] = {}
        self._classes: list[dict[PeerId, None]] = [{} for _ in range(PEER_BYTES // CLASS_BYTES + 1)]
        """Peers by how much waits of theirs."""

    def bytes_of(self, peer: PeerId) -> int:
        """Bytes of a peer that wait."""
        return self._bytes.get(peer, 0)

    def greatest(self) -> PeerId | None:
        """Who has most bytes waiting, or about as many; None if nobody has any."""
        return next((next(iter(peers)) for peers in reversed(self._classes) if peers), None)

    def add(self, frame: Inbound) -> None:
        """Put a frame behind its peer's others."""
        self.frames.setdefault(frame.peer, deque()).append(frame)
        self._count(frame.peer, size_of(frame))

    def remove(self, peer: PeerId, *, newest: bool) -> Inbound:
        """Take a peer's newest frame out, or its first."""
        frames = self.frames[peer]
        frame = frames.pop() if newest else frames.popleft()
        if not frames:
            del self.frames[peer]
        self._count(peer, -size_of(frame))
        return frame

    def put_last(self, peer: PeerId) -> None:
        """All others' turns come before this peer's next."""
        self.frames[peer] = self.frames.pop(peer)

    def _count(self, peer: PeerId, change: int) -> None:
        before, after = self.bytes_of(peer), self.bytes_of(peer) + change
        self.total += change
        self._class_of(before).pop(peer, None)
        if after:
            self._bytes[peer] = after
            self._class_of(after)[peer] = None
        else:
            del self._bytes[peer]

    def _class_of(self, size: int) -> dict[PeerId, None]:
        # A single frame may be larger than what a peer may have waiting otherwise.
        return self._classes[min(size // CLASS_BYTES, len(self._classes) - 1)]


class Intake:
    """Frames that wait for their turn; `take` makes the steps that one of them needs."""

    def __init__(
        self, take: Callable[[Inbound], Iterator[None]], *, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        """``clock`` tells what a slice costs, in seconds; only differences matter."""
        self._take, self._clock = take, clock
        self._waiting = Waiting()
        self._running: dict[PeerId, Iterator[None]] = {}
        """Steps that are left of each peer's first frame, if it was begun."""
        self._arrived = trio.Event()
        self.dropped: Counter[Drop] = Counter()
        """Frames not taken, by reason."""

    def put(self, frame: Inbound) -> Drop | None:
        """Queue a frame; why not, if there is no room for it."""
        would_have = self._waiting.bytes_of(frame.peer) + size_of(frame)
        if would_have > PEER_BYTES and would_have > size_of(frame):
            return self._drop(frame, Drop.PEER_QUEUE_FULL)
        while self._waiting.total + size_of(frame) > ALL_BYTES:
            if not self._make_room(would_have):
                return self._drop(frame, Drop.INTAKE_FULL)
        self._waiting.add(frame)
        self._arrived.set()
        return None

    def _make_room(self, would_have: int) -> bool:
        """Drop the newest frame of who has most waiting; False if the newcomer would have as much.

        Also one that was begun, if it is the only one: else many peers with a long one each keep others out.
        """
        peer = self._waiting.greatest()
        if peer is None or self._waiting.bytes_of(peer) <= would_have:
            return False
        frame = self._waiting.remove(peer, newest=True)
        if peer not in self._waiting.frames:
            self._running.pop(peer, None)
        self._drop(frame, Drop.GAVE_WAY)
        return True

    def _drop(self, frame: Inbound, reason: Drop) -> Drop:
        self.dropped[reason] += 1
        size = len(frame.payload)
        _log.debug("transactions dropped peer=%s bytes=%d reason=%s", frame.peer, size, reason.value)
        return reason

    async def run(self) -> None:
        """Take frames in for ever."""
        while True:
            await self._arrived.wait()
            while self._waiting.frames:
                spent = self._slice()
                # At the least a checkpoint: whatever else the node has to do comes between two slices.
                await trio.sleep((SHARE - 1) * spent)
            self._arrived = trio.Event()

    def _slice(self) -> float:
        """Work for the peer whose turn it is, and put it behind the others; returns the seconds it took."""
        waiting = self._waiting
        peer = next(iter(waiting.frames))
        began, spent = self._clock(), 0.0
        while peer in waiting.frames and spent < SLICE_SECONDS:
            if peer not in self._running:
                self._running[peer] = self._take(waiting.frames[peer][0])
            if not _step(self._running[peer]):
                del self._running[peer]
                waiting.remove(peer, newest=False)
            spent = self._clock() - began
        if peer in waiting.frames:
            waiting.put_last(peer)
        return spent


def size_of(frame: Inbound) -> int:
    """Bytes that a waiting frame counts for."""
    return len(frame.payload) + FRAME_BYTES


def _step(steps: Iterator[None]) -> bool:
    """Take one step; False if there is none left."""
    try:
        next(steps)
    except StopIteration:
        return False
    return True
