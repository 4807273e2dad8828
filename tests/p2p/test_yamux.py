"""The yamux session: honest traffic in full, dishonest traffic with bounds."""

from contextlib import suppress

import pytest
import trio
from hypothesis import example, given
from hypothesis import strategies as st
from libp2p.stream_muxer.exceptions import (
    MuxedConnUnavailable,
    MuxedStreamEOF,
    MuxedStreamError,
    MuxedStreamReset,
)
from trio.testing import MockClock, wait_all_tasks_blocked

from p2p.hardening.yamux import (
    ACK,
    DATA,
    FIN,
    GO_AWAY,
    MAX_STREAMS,
    PING,
    RST,
    SYN,
    WINDOW_BUDGET,
    WINDOW_UPDATE,
    BoundedYamux,
)
from p2p.hardening.yamux_pace import (
    MAX_REFUSED,
    STREAM_RATE,
)
from p2p.hardening.yamux_stream import FIRST_WINDOW, MAX_WINDOW, READER_GONE_AFTER
from tests.p2p.pipes import pipe
from tests.p2p.yamux_sides import OPEN, Wire, ended_because, header, one_side, two_sides


@pytest.mark.parametrize("room", [1000, float("inf")])
async def test_large_data_arrives_whole_in_both_directions(room: float, autojump_clock: MockClock) -> None:
    async with two_sides(room=room) as (a, b):
        there, size = await a.open_stream(), 3 * FIRST_WINDOW + 12345
        here = await b.accept_stream()
        data = bytes(range(256)) * (size // 256)

        async def collect(stream: object) -> bytes:
            got = bytearray()
            while len(got) < len(data):
                got += await stream.read(7000)  # type: ignore[attr-defined]
            return bytes(got)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(there.write, data)
            nursery.start_soon(here.write, data[::-1])
            assert await collect(here) == data
            assert await collect(there) == data[::-1]
        assert here.window <= MAX_WINDOW
        assert a._windows == sum(s.window for s in a._streams.values())


async def test_writes_of_many_tasks_do_not_mix(autojump_clock: MockClock) -> None:
    async with two_sides() as (a, b):
        there = await a.open_stream()
        here = await b.accept_stream()
        pieces = [bytes([n]) * 200_000 for n in range(5)]
        got = bytearray()
        async with trio.open_nursery() as nursery:
            for piece in pieces:
                nursery.start_soon(there.write, piece)
            while len(got) < 1_000_000:
                got += await here.read()
        assert sorted(bytes(got[at : at + 200_000]) for at in range(0, 1_000_000, 200_000)) == pieces


async def test_small_messages_cost_no_window_updates(autojump_clock: MockClock) -> None:
    async with two_sides() as (a, b):
        there = await a.open_stream()
        here = await b.accept_stream()
        before = b.secured_conn.writes
        for n in range(100):
            await there.write(bytes([n]) * 1000)
            assert await here.read() == bytes([n]) * 1000
        assert b.secured_conn.writes - before <= 1


async def test_closing_and_resetting(autojump_clock: MockClock) -> None:
    async with two_sides() as (a, b):
        there = await a.open_stream()
        here = await b.accept_stream()
        await there.write(b"last words")
        await there.close()
        assert await here.read(4) == b"last"
        assert await here.read() == b" words"
        with pytest.raises(MuxedStreamEOF):
            await here.read()
        await here.write(b"still open this way")
        assert await there.read() == b"still open this way"
        await here.close()
        await wait_all_tasks_blocked()
        assert (a._streams, b._streams, a._windows, b._windows) == ({}, {}, 0, 0)

        there = await a.open_stream()
        here = await b.accept_stream()
        await here.reset()
        with pytest.raises(MuxedStreamReset):
            await there.read()
        with pytest.raises(MuxedStreamReset):
            await there.write(b"x")
        await wait_all_tasks_blocked()
        assert (a._streams, b._streams, a._windows, b._windows) == ({}, {}, 0, 0)


async def test_a_writer_whose_reader_sleeps_gives_up_the_stream_only(autojump_clock: MockClock) -> None:
    async with two_sides() as (a, b):
        there = await a.open_stream()
        here = await b.accept_stream()
        start = trio.current_time()
        with pytest.raises(MuxedStreamError, match=f"peer read nothing for {READER_GONE_AFTER} s"):
            await there.write(bytes(2 * FIRST_WINDOW))
        assert trio.current_time() - start == pytest.approx(READER_GONE_AFTER)
        await wait_all_tasks_blocked()
        assert len(here._buffer) == FIRST_WINDOW
        other = await a.open_stream()
        await other.write(b"alive")
        assert await (await b.accept_stream()).read() == b"alive"


async def test_a_peer_that_takes_nothing_at_all_loses_its_connection(autojump_clock: MockClock) -> None:
    near, _ = pipe(room=100)
    session = BoundedYamux(Wire(near, is_initiator=True), peer_id="deaf")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(session.start)
        await session.event_started.wait()
        stream = await session.open_stream()
        with pytest.raises(MuxedStreamError, match=r"peer took no data for 30.0 s"):
            await stream.write(bytes(5000))
        await session.event_closed.wait()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\x01" + bytes(11), "broke yamux: version 1, expected 0"),
        (header(9, 0, 0, 0), "broke yamux: frame type 9"),
        (header(WINDOW_UPDATE, SYN, 2, 0), "broke yamux: new stream 2 after 0"),
        (header(WINDOW_UPDATE, SYN, 0, 0), "broke yamux: new stream 0 after 0"),
        (OPEN + OPEN, "broke yamux: new stream 1 after 1"),
        (header(DATA, SYN, 1, FIRST_WINDOW + 1), "broke yamux: 262145 bytes in a window of 262144"),
        (OPEN + header(WINDOW_UPDATE, 0, 1, 2**32 - 1), "broke yamux: send window of 4295229439"),
        (header(DATA, 0, 7, 2**32 - 1), "broke yamux: 4294967295 bytes for a stream that is not open"),
        (header(GO_AWAY, 0, 0, 0), "closed by peer"),
    ],
)
async def test_rules_of_yamux(data: bytes, reason: str, autojump_clock: MockClock) -> None:
    async with one_side() as (session, raw):
        await raw.write(data)
        assert await ended_because(session) == reason


async def test_flow_control_is_enforced_over_many_frames(autojump_clock: MockClock) -> None:
    async with one_side() as (session, raw):
        await raw.write(OPEN)
        stream = await session.accept_stream()
        for _ in range(4):
            await raw.write(header(DATA, 0, 1, FIRST_WINDOW // 4) + bytes(FIRST_WINDOW // 4))
        await wait_all_tasks_blocked()
        assert len(stream._buffer) == FIRST_WINDOW
        await raw.write(header(DATA, 0, 1, 1) + b"x")
        assert await ended_because(session) == "broke yamux: 1 bytes in a window of 0"


async def test_streams_are_bounded_and_a_flood_ends_the_session(autojump_clock: MockClock) -> None:
    async with one_side() as (session, raw):
        for n in range(MAX_STREAMS + MAX_REFUSED):
            await raw.write(header(WINDOW_UPDATE, SYN, 2 * n + 1, 0))
            if n % 64 == 0:
                await wait_all_tasks_blocked()
                await raw.read()
        await wait_all_tasks_blocked()
        assert (len(session._streams), session.is_closed) == (MAX_STREAMS, False)
        assert session._windows <= WINDOW_BUDGET
        await raw.write(header(WINDOW_UPDATE, SYN, 9999, 0))
        reason = f"broke yamux: {MAX_REFUSED + 1} streams beyond 64 open ones or {STREAM_RATE} a second"
        assert await ended_because(session) == reason


async def test_refused_streams_are_reset_and_closed_ones_make_room(autojump_clock: MockClock) -> None:
    async with one_side() as (session, raw):
        for n in range(MAX_STREAMS):
            await raw.write(header(WINDOW_UPDATE, SYN, 2 * n + 1, 0))
            await session.accept_stream()
        await wait_all_tasks_blocked()
        acknowledged = [header(WINDOW_UPDATE, ACK, 2 * n + 1, 0) for n in range(MAX_STREAMS)]
        assert await raw.read() == b"".join(acknowledged)
        await raw.write(header(WINDOW_UPDATE, SYN, 201, 0))
        await wait_all_tasks_blocked()
        assert await raw.read() == header(WINDOW_UPDATE, RST, 201, 0)
        await raw.write(header(WINDOW_UPDATE, RST, 1, 0))
        await raw.write(header(WINDOW_UPDATE, SYN, 203, 0))
        assert (await session.accept_stream()).stream_id == 203


async def test_a_stream_whose_opening_fails_leaves_nothing(autojump_clock: MockClock) -> None:
    async with two_sides() as (a, b):
        for _ in range(100):
            with trio.CancelScope() as scope:
                scope.cancel()
                await a.open_stream()
        assert (a._streams, a._windows) == ({}, 0)
        there = await a.open_stream()
        await there.write(b"alive")
        assert await (await b.accept_stream()).read() == b"alive"


async def test_a_writer_that_is_cancelled_when_its_turn_comes_ends_nothing(autojump_clock: MockClock) -> None:
    async with two_sides() as (a, b):
        there = await a.open_stream()
        scope = trio.CancelScope()

        async def write() -> None:
            with scope:
                await there.write(b"never sent")

        async with trio.open_nursery() as nursery:
            await a._write_lock.acquire()
            nursery.start_soon(write)
            await wait_all_tasks_blocked()
            a._write_lock.release()
            scope.cancel()
        await there.write(b"alive")
        assert await (await b.accept_stream()).read() == b"alive"


async def test_pings_are_answered_and_unread_answers_are_bounded(autojump_clock: MockClock) -> None:
    near, far = pipe(room=50_000)
    session = BoundedYamux(Wire(near, is_initiator=False), peer_id="raw")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(session.start)
        await session.event_started.wait()
        await far.write(header(PING, SYN, 0, 77))
        assert await far.read() == header(PING, ACK, 0, 77)
        with suppress(MuxedStreamReset):
            await far.write(header(PING, SYN, 0, 1) * 10_000)
        assert session.closed_because == "peer does not read its acknowledgements"


async def test_data_for_a_stream_we_gave_up_is_passed_over(autojump_clock: MockClock) -> None:
    async with one_side() as (session, raw):
        await raw.write(OPEN)
        await (await session.accept_stream()).reset()
        await raw.write(header(DATA, 0, 1, 5) + b"stale" + header(DATA, SYN | FIN, 3, 4) + b"late")
        stream = await session.accept_stream()
        assert (stream.stream_id, await stream.read()) == (3, b"late")
        with pytest.raises(MuxedStreamEOF):
            await stream.read()


async def test_everybody_learns_when_the_connection_is_gone(autojump_clock: MockClock) -> None:
    async with two_sides() as (a, b):
        there = await a.open_stream()
        here = await b.accept_stream()
        await here.write(b"buffered")
        await wait_all_tasks_blocked()
        a.secured_conn.end.end()
        for session in (a, b):
            assert await ended_because(session) == "closed by peer"
        assert await there.read() == b"buffered"
        for stream in (there, here):
            with pytest.raises(MuxedStreamReset, match="closed by peer"):
                await stream.read()
            with pytest.raises(MuxedStreamReset, match="closed by peer"):
                await stream.write(b"x")


headers = st.builds(
    lambda kind, flags, stream, length: header(kind, flags, stream, length) + bytes(0 if kind else length),
    st.sampled_from([0, 0, 1, 1, 2, 3, 4]),
    st.integers(0, 15),
    st.integers(0, 9),
    st.sampled_from([0, 1, 5, 300, 70_000]),
)


@given(st.lists(st.one_of(headers, st.binary(max_size=30)), max_size=12))
@example([OPEN, header(DATA, FIN, 1, 0), header(DATA, RST, 1, 0)])
async def test_any_bytes_end_or_pass_quietly_within_bounds(pieces: list[bytes]) -> None:
    async with one_side() as (session, raw):

        async def read_streams() -> None:
            try:
                while True:
                    stream = await session.accept_stream()
                    await stream.read(3)
            except (MuxedConnUnavailable, MuxedStreamError):
                return

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read_streams)
            with suppress(MuxedStreamReset):
                for piece in pieces:
                    await raw.write(piece)
            await wait_all_tasks_blocked()
            buffered = sum(len(stream._buffer) for stream in session._streams.values())
            assert buffered <= session._windows <= WINDOW_BUDGET
            nursery.cancel_scope.cancel()
