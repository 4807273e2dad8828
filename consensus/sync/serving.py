"""Answering others without falling behind: peers in turn, one question at a time, a share of the time."""

from collections import Counter, deque
from collections.abc import Callable, Generator
from typing import Final, TypeVar

import trio

from p2p.network import PeerId, RequestRefused

SERVING_SHARE: Final = 4
"""Answering takes at most one part in so many of this machine's time: a question of three bytes can cost it
the reading of megabytes."""

PATIENCE: Final = 4.0
"""Seconds that a question waits for its turn. Whoever asks gives up after five: work for questions that are
older would leave none for those that are not."""

_Answer = TypeVar("_Answer")


class Desk:
    """Where questions that cost something wait for their turn.

    Peers are served in turn, however many questions each of them has. Names cost nothing, so strangers may be
    any number: the peers that are kept have every other turn to themselves.

    Memory bound: ``each`` questions of every connected peer, none of them for longer than `PATIENCE`.
    """

    def __init__(self, what: str, *, is_kept: Callable[[PeerId], bool], each: int = 1) -> None:
        """Set up an empty line.

        Args:
            what: What is asked for here, in the words of a refusal.
            is_kept: Whether a peer is the committee's or a bootstrap peer.
            each: Questions of one peer that are taken at a time.
        """
        self._what = what
        self._is_kept = is_kept
        self._each = each
        self._asking: Counter[PeerId] = Counter()
        # Insertion order is the order of turns, as in `p2p.wire.inbox`.
        self._lines: dict[bool, dict[PeerId, deque[trio.Event]]] = {True: {}, False: {}}
        self._is_busy = self._was_kept = False

    async def serve(self, peer: PeerId, steps: Generator[None, None, _Answer]) -> _Answer:
        """Take one step at a time, and give the node its share of the time after each.

        Raises:
            RequestRefused: The peer asks enough already, or its turn did not come in time.
        """
        if self._asking[peer] >= self._each:
            most = "one question" if self._each == 1 else f"{self._each} questions"
            raise RequestRefused(f"{most} for {self._what} at a time")
        self._asking[peer] += 1
        try:
            await self._wait(peer)
            try:
                return await paced(steps)
            finally:
                self._call_next()
        finally:
            self._asking[peer] -= 1
            if not self._asking[peer]:
                del self._asking[peer]

    async def _wait(self, peer: PeerId) -> None:
        """Until it is this question's turn."""
        is_kept = self._is_kept(peer)
        if not self._is_busy:
            self._is_busy, self._was_kept = True, is_kept
            return
        called, line, is_here = trio.Event(), self._lines[is_kept], False
        line.setdefault(peer, deque()).append(called)
        try:
            with trio.move_on_after(PATIENCE):
                await called.wait()
                is_here = True
        finally:
            if called.is_set() and not is_here:
                # Called in the very moment in which it left.
                self._call_next()
            elif not is_here:
                line[peer].remove(called)
                if not line[peer]:
                    del line[peer]
        if not is_here:
            raise RequestRefused(f"{len(self._asking)} peers wait for {self._what} already")

    def _call_next(self) -> None:
        for is_kept in (not self._was_kept, self._was_kept):
            line = self._lines[is_kept]
            if line:
                peer = next(iter(line))
                waiting = line.pop(peer)
                called = waiting.popleft()
                if waiting:
                    line[peer] = waiting
                self._was_kept = is_kept
                called.set()
                return
        self._is_busy = False


async def paced(steps: Generator[None, None, _Answer]) -> _Answer:
    """Take all steps, and give the node its share of the time after each."""
    while True:
        started = trio.current_time()
        try:
            next(steps)
        except StopIteration as end:
            answer: _Answer = end.value
            return answer
        await trio.sleep((SERVING_SHARE - 1) * (trio.current_time() - started))
