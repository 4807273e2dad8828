"""How fast a peer may open streams and send frames that carry next to nothing, on one connection."""

import trio

from p2p.wire.buckets import TokenBucket

STREAM_RATE, STREAM_BURST = 20.0, 128.0
"""Streams a second that a peer may open once its burst is used up; a session opens four in its life."""

MAX_REFUSED = 1024
"""Streams refused before the connection is given up."""

SMALL_BODY = 16
"""A frame with a shorter body, or none, is a small one."""

SMALL_FRAME_RATE, SMALL_FRAME_BURST = 1000.0, 8192.0
"""Small frames a second that are read once the burst is used up: window updates for 128 MB/s that we send."""


class Pace:
    """Counts what the peer of a `BoundedYamux` opens and sends."""

    def __init__(self) -> None:
        now = trio.current_time()
        self.refused = 0
        self._new_streams = TokenBucket(rate=STREAM_RATE, burst=STREAM_BURST, now=now)
        self._small_frames = TokenBucket(rate=SMALL_FRAME_RATE, burst=SMALL_FRAME_BURST, now=now)

    def may_open(self, *, is_room: bool) -> bool:
        """Whether a stream may be opened now, given whether there `is_room`; counted if it may not."""
        if self._new_streams.try_take(1, trio.current_time()) and is_room:
            return True
        self.refused += 1
        return False

    async def after(self, small_frames: int) -> None:
        """Wait until the peer may send more: it is read slowly, as nothing can be dropped from its frames."""
        if small_frames and (debt := self._small_frames.take(small_frames, trio.current_time())):
            await trio.sleep(debt)
