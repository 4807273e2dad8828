"""How fast a peer may open streams, and send frames that carry nothing."""

import struct
from collections import Counter
from contextlib import suppress

import pytest
import trio
from libp2p.stream_muxer.exceptions import (
    MuxedConnUnavailable,
    MuxedStreamReset,
)
from trio.testing import MockClock, wait_all_tasks_blocked

from p2p.hardening.yamux import (
    ACK,
    DATA,
    PING,
    RST,
    SYN,
    WINDOW_UPDATE,
)
from p2p.hardening.yamux_pace import (
    MAX_REFUSED,
    SMALL_FRAME_BURST,
    SMALL_FRAME_RATE,
    STREAM_BURST,
    STREAM_RATE,
)
from tests.p2p.yamux_sides import OPEN, ended_because, header, one_side


def flags_of(data: bytes) -> Counter[int]:
    """How many frames of `data`, none of which has a body, have which flags."""
    return Counter(struct.unpack_from("!BBHII", data, at)[2] for at in range(0, len(data), 12))


async def test_streams_opened_and_reset_at_once_are_refused_past_a_rate(autojump_clock: MockClock) -> None:
    async with one_side() as (session, raw), trio.open_nursery() as nursery:
        stream_ids = iter(range(1, 10**6, 2))

        async def accept_all() -> None:
            with suppress(MuxedConnUnavailable):
                while True:
                    await session.accept_stream()

        async def answers(streams: float) -> Counter[int]:
            for _ in range(int(streams)):
                stream_id = next(stream_ids)
                await raw.write(header(WINDOW_UPDATE, SYN, stream_id, 0))
                await raw.write(header(WINDOW_UPDATE, RST, stream_id, 0))
            await wait_all_tasks_blocked()
            return flags_of(await raw.read())

        nursery.start_soon(accept_all)
        assert await answers(STREAM_BURST + 10) == {ACK: STREAM_BURST, RST: 10}
        await trio.sleep(1)
        assert await answers(STREAM_RATE + 5) == {ACK: STREAM_RATE, RST: 5}
        with suppress(MuxedStreamReset):
            await answers(MAX_REFUSED)
        assert (await ended_because(session)).startswith(f"broke yamux: {MAX_REFUSED + 1} streams beyond")


@pytest.mark.parametrize(
    "small", [header(WINDOW_UPDATE, 0, 99, 0), header(DATA, 0, 99, 0), header(DATA, 0, 1, 1) + b"x"]
)
async def test_frames_that_carry_nothing_are_read_slowly(small: bytes, autojump_clock: MockClock) -> None:
    async with one_side() as (_, raw):
        start, seconds = trio.current_time(), 3
        await raw.write(OPEN + small * int(SMALL_FRAME_BURST + seconds * SMALL_FRAME_RATE))
        await wait_all_tasks_blocked()
        await raw.write(header(PING, SYN, 0, 77))
        answer = b""
        while not answer.endswith(header(PING, ACK, 0, 77)):
            answer += await raw.read()
        assert trio.current_time() - start == pytest.approx(seconds, abs=0.1)
