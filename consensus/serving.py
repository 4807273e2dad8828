"""Answering others without falling behind: one question a peer, one at a time, a share of the time."""

from collections.abc import Generator
from typing import Final, TypeVar

import trio

from p2p.network import PeerId, RequestRefused

SERVING_SHARE: Final = 4
"""Answering takes at most one part in so many of this machine's time: a question of three bytes can cost it
the reading of megabytes."""

SERVED_PEERS: Final = 8
"""Questions that may wait for their turn: whoever comes later asks another peer."""

_Answer = TypeVar("_Answer")


class Desk:
    """Where questions that cost something wait for their turn."""

    def __init__(self, what: str) -> None:
        """``what`` is asked for here, in the words of a refusal."""
        self._what = what
        self._serving = trio.Lock()
        self._asking: set[PeerId] = set()

    async def serve(self, peer: PeerId, steps: Generator[None, None, _Answer]) -> _Answer:
        """Take one step at a time, and give the node its share of the time after each.

        Raises:
            RequestRefused: The peer asks already, or too many do.
        """
        if peer in self._asking:
            raise RequestRefused(f"one question for {self._what} at a time")
        if len(self._asking) >= SERVED_PEERS:
            raise RequestRefused(f"{SERVED_PEERS} peers wait for {self._what} already")
        self._asking.add(peer)
        try:
            async with self._serving:
                while True:
                    started = trio.current_time()
                    try:
                        next(steps)
                    except StopIteration as end:
                        answer: _Answer = end.value
                        return answer
                    await trio.sleep((SERVING_SHARE - 1) * (trio.current_time() - started))
        finally:
            self._asking.discard(peer)
