"""Comings and goings of peers, for whoever wants to hear: the latest of each peer, never a backlog.

Memory bound: one event per peer, `KEPT` peers; the oldest unread event goes first.
"""

import trio

from p2p.network import PeerEvent, PeerId

KEPT = 1024


class Comings:
    """Holds the latest unread event of each peer and hands them on in the order of their first arrival."""

    def __init__(self) -> None:
        self._latest: dict[PeerId, PeerEvent] = {}
        self._arrived = trio.Event()

    def put(self, event: PeerEvent) -> None:
        """Remember `event`, replacing an unread one of the same peer."""
        self._latest.pop(event.peer, None)
        self._latest[event.peer] = event
        if len(self._latest) > KEPT:
            del self._latest[next(iter(self._latest))]
        self._arrived.set()

    async def pump(self, out: trio.MemorySendChannel[PeerEvent]) -> None:
        """Move events to `out` for ever, or until its reader is gone."""
        while True:
            if not self._latest:
                self._arrived = trio.Event()
                await self._arrived.wait()
                continue
            event = self._latest.pop(next(iter(self._latest)))
            try:
                await out.send(event)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return
