"""Frames: any cutting of the bytes gives the same frames, and limits hold before anything is kept."""

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from libp2p.stream_muxer.exceptions import MuxedStreamReset

from p2p.wire.faults import Fault, PeerFault
from p2p.wire.frames import FrameReader, frame, write
from p2p.wire.outbox import Outbox
from tests.memory_bound import FIXED, peak_of
from tests.p2p.pipes import Replay, pipe


@given(st.lists(st.binary(max_size=300), max_size=8), st.lists(st.integers(1, 200), max_size=40))
async def test_frames_do_not_depend_on_how_bytes_arrive(payloads: list[bytes], sizes: list[int]) -> None:
    reader = FrameReader(Replay(b"".join(map(frame, payloads)), sizes))
    assert [await reader.frame(300) for _ in payloads] == payloads
    with pytest.raises(PeerFault) as caught:
        await reader.frame(300)
    assert caught.value.fault is Fault.CONNECTION_LOST


@given(st.binary(max_size=200), st.lists(st.integers(1, 9), max_size=40))
async def test_any_bytes_end_in_a_fault(data: bytes, sizes: list[int]) -> None:
    reader = FrameReader(Replay(data, sizes))

    async def read_all() -> None:
        while True:
            assert len(await reader.frame(64)) <= 64

    with pytest.raises(PeerFault) as caught:
        await read_all()
    assert caught.value.fault in (Fault.TOO_LARGE, Fault.CONNECTION_LOST)


@given(st.integers(0, 500), st.lists(st.integers(1, 99), max_size=20))
async def test_skipping_leaves_the_next_frame_whole(count: int, sizes: list[int]) -> None:
    reader = FrameReader(Replay(bytes(count) + frame(b"next"), sizes))
    await reader.skip(count)
    assert await reader.frame(4) == b"next"


async def test_a_length_over_the_limit_is_refused_before_the_body() -> None:
    reader = FrameReader(Replay(b"\x00\x00\x00\x0b"))
    with pytest.raises(PeerFault, match="too large: frame of 11 bytes, the limit is 10"):
        await reader.frame(10)


def test_memory_is_bounded_by_what_arrived_and_not_by_what_was_promised() -> None:
    async def promise_much() -> None:
        with pytest.raises(PeerFault):
            await FrameReader(Replay((4 << 20).to_bytes(4, "big") + bytes(1000))).frame(4 << 20)

    async def big() -> None:
        await FrameReader(Replay(data, [1 << 16] * 20)).frame(1 << 20)

    trio.run(promise_much)  # Import and set up whatever the first run needs.
    assert peak_of(lambda: trio.run(promise_much)) < 300_000
    data = frame(bytes(1 << 20))
    assert peak_of(lambda: trio.run(big)) < 3 * len(data) + 300_000 + FIXED


async def test_a_reset_stream_is_a_lost_connection() -> None:
    near, far = pipe()
    far.end(MuxedStreamReset)
    with pytest.raises(PeerFault, match="connection lost: over"):
        await FrameReader(near).frame(10)
    with pytest.raises(PeerFault, match="connection lost: over"):
        await write(near, b"x")


async def test_an_outbox_is_bounded_and_keeps_order(autojump_clock: trio.testing.MockClock) -> None:
    outbox = Outbox(frames=3, size=100)
    assert [outbox.put(bytes([n]) * 30) for n in range(5)] == [True, True, True, False, False]
    near, far = pipe()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(outbox.drain, near)
        reader = FrameReader(far)
        assert [await reader.frame(100) for _ in range(3)] == [bytes([n]) * 30 for n in range(3)]
        assert outbox.put(b"x" * 1000), "an empty queue takes any frame"
        assert await reader.frame(1000) == b"x" * 1000
        nursery.cancel_scope.cancel()
