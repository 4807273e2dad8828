"""A session over in-memory streams: lanes, the watch, goodbyes."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from p2p.limits import Limits
from p2p.network import Direction, Inbound, Lane, PeerId
from p2p.peers.session import NEWS_BURST, NEWS_RATE, Caller, Link, Session, Streams
from p2p.wire.control import Goodbye, Hello, Peers, Ping, Pong, decode, encode
from p2p.wire.faults import Fault, PeerFault
from p2p.wire.frames import FrameReader, frame
from p2p.wire.inbox import Inbox
from p2p.wire.methods import Methods
from tests.p2p.pipes import Pipe, pipe

A = PeerId("a")
LIMITS = Limits(consensus_frame=1000, transactions_frame=1000)


@dataclass
class Wire:
    """Stands for the connection below: counts the bytes the test says have come."""

    bytes_in: int = 0
    bytes_out: int = 0
    ended: list[str] = field(default_factory=list)

    def end(self, reason: str) -> None:
        self.ended.append(reason)


@dataclass
class Fixture:
    session: Session
    wire: Wire
    control: Pipe
    lanes: dict[Lane, Pipe]
    exchange: Pipe
    inbound: trio.MemoryReceiveChannel[Inbound]
    news: list[Peers]
    outcome: list[PeerFault]

    async def heard(self) -> object:
        return decode(await FrameReader(self.control).frame(10_000))


@asynccontextmanager
async def session_with(limits: Limits = LIMITS, *, is_kept: bool = True) -> AsyncIterator[Fixture]:
    ends = [pipe(room=1_000_000) for _ in range(4)]
    near, far = zip(*ends, strict=True)
    wire, inbox = Wire(), Inbox(frames=limits.inbox_frames, size=limits.inbox_bytes)
    link = Link(
        Caller(A, Direction.INBOUND, ""), "", wire, Hello(bytes(32), bytes(8), ()), trio.current_time()
    )
    near_lanes = {Lane.CONSENSUS: near[1], Lane.TRANSACTIONS: near[2]}
    streams = Streams(near[0], FrameReader(near[0]), near_lanes, near[3])
    session = Session(link, streams, limits=limits, inbox=inbox, methods=Methods(timeout=1), is_kept=is_kept)
    out, inbound = trio.open_memory_channel[Inbound](0)
    lanes = {Lane.CONSENSUS: far[1], Lane.TRANSACTIONS: far[2]}
    fixture = Fixture(session, wire, far[0], lanes, far[3], inbound, [], [])

    async def run() -> None:
        fixture.outcome.append(await session.run(lambda _, peers: fixture.news.append(peers)))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(inbox.pump, out)
        nursery.start_soon(run)
        yield fixture
        nursery.cancel_scope.cancel()


async def outcome_of(fixture: Fixture) -> tuple[Fault, str]:
    with trio.fail_after(60):
        await fixture.session.ended.wait()
        await wait_all_tasks_blocked()
    (fault,) = fixture.outcome
    return fault.fault, fault.detail


async def test_frames_go_out_and_come_in_on_their_lanes(autojump_clock: MockClock) -> None:
    async with session_with() as here:
        for lane in Lane:
            assert here.session.send(lane, lane.name.encode())
            assert await FrameReader(here.lanes[lane]).frame(100) == lane.name.encode()
            await here.lanes[lane].write(frame(b"reply"))
            assert await here.inbound.receive() == Inbound(A, lane, b"reply")
        assert (here.session.frames_in, here.session.frames_out) == (2, 2)


async def test_a_full_queue_refuses_and_counts(autojump_clock: MockClock) -> None:
    limits = Limits(queue_frames=3)
    async with session_with(limits) as here:
        taken = [here.session.send(Lane.CONSENSUS, bytes(900_000)) for _ in range(5)]
        assert taken == [True] * 3 + [False] * 2
        assert here.session.dropped == {Lane.CONSENSUS: 2, Lane.TRANSACTIONS: 0}
        assert here.session.send(Lane.TRANSACTIONS, b"the other lane has its own queue")


async def test_a_stuck_lane_does_not_hold_the_other(autojump_clock: MockClock) -> None:
    async with session_with() as here:
        for _ in range(100):
            here.session.send(Lane.TRANSACTIONS, bytes(100_000))
        here.session.send(Lane.CONSENSUS, b"vote")
        assert await FrameReader(here.lanes[Lane.CONSENSUS]).frame(10) == b"vote"


async def test_unread_frames_stop_the_reading_and_are_not_lost(autojump_clock: MockClock) -> None:
    async with session_with(Limits(inbox_frames=4)) as here:
        for n in range(20):
            await here.lanes[Lane.CONSENSUS].write(frame(bytes([n])))
        await trio.sleep(3)
        # Four in the inbox, one in the reader's hand, one in the hand of the pump.
        assert here.session.frames_in == 6
        got = [await here.inbound.receive() for _ in range(20)]
        assert [item.payload for item in got] == [bytes([n]) for n in range(20)]


async def test_a_fast_sender_is_read_at_the_rate_of_the_lane(autojump_clock: MockClock) -> None:
    limits = Limits(consensus_rate=10_000, burst_seconds=1.0)
    async with session_with(limits) as here:
        start = trio.current_time()
        for _ in range(100):
            await here.lanes[Lane.CONSENSUS].write(frame(bytes(488)))
            await here.inbound.receive()
            here.wire.bytes_in += 1
        # 100 frames cost 1000 tokens each; the first 10 were free.
        assert trio.current_time() - start == pytest.approx(9, abs=0.2)


async def seconds_for(here: Fixture, frames: int) -> float:
    """How long it takes to be read that many frames of 1000 tokens each."""
    start = trio.current_time()
    for _ in range(frames):
        await here.lanes[Lane.CONSENSUS].write(frame(bytes(488)))
        await here.inbound.receive()
        here.wire.bytes_in += 1
    return trio.current_time() - start


async def test_who_is_not_kept_is_read_more_slowly(autojump_clock: MockClock) -> None:
    limits = Limits(consensus_rate=10_000, burst_seconds=2.0, strangers_rate=1_000, strangers_burst=5_000)
    async with session_with(limits, is_kept=False) as here:
        assert await seconds_for(here, 10) == pytest.approx(4, abs=0.1)
        # It turns out to be the committee's: what it may send at once is larger, and can be used.
        here.session.keep(True)
        assert await seconds_for(here, 10) == pytest.approx(0, abs=1.1)
        assert await seconds_for(here, 20) == pytest.approx(0.9, abs=0.1)
        here.session.keep(False)
        assert await seconds_for(here, 10) == pytest.approx(10, abs=1.1)


async def test_who_is_charged_is_read_later_and_stays(autojump_clock: MockClock) -> None:
    limits = Limits(consensus_rate=10_000, burst_seconds=1.0)
    async with session_with(limits) as here:
        here.session.charge(Lane.CONSENSUS, 59_000)
        here.session.charge(Lane.TRANSACTIONS, 1 << 40)
        assert await seconds_for(here, 2) == pytest.approx(5, abs=0.2)
        assert await seconds_for(here, 10) == pytest.approx(1, abs=0.2)
        assert here.outcome == []


async def test_a_frame_over_the_limit_ends_the_session_and_says_so(autojump_clock: MockClock) -> None:
    async with session_with() as here:
        await here.lanes[Lane.TRANSACTIONS].write((1001).to_bytes(4, "big"))
        detail = "frame of 1001 bytes, the limit is 1000"
        assert await outcome_of(here) == (Fault.TOO_LARGE, detail)
        assert await here.heard() == Goodbye(Fault.TOO_LARGE, detail)


async def test_pings_are_answered_and_peers_passed_on(autojump_clock: MockClock) -> None:
    async with session_with() as here:
        await here.control.write(frame(encode(Ping(7))))
        assert await here.heard() == Pong(7)
        news = Peers(((PeerId("b"), ("/ip4/1.1.1.1/tcp/1",)),))
        await here.control.write(frame(encode(news)))
        await wait_all_tasks_blocked()
        assert here.news == [news]


async def test_a_silent_peer_is_pinged_and_given_up(autojump_clock: MockClock) -> None:
    async with session_with() as here:
        start = trio.current_time()
        assert await here.heard() == Ping(1)
        here.wire.bytes_in += 1
        assert await here.heard() == Ping(1)
        assert await here.heard() == Ping(2)
        assert await outcome_of(here) == (Fault.SILENT, "nothing heard for 6.0 s")
        assert trio.current_time() - start == pytest.approx(1.5 * 6)


async def test_a_busy_peer_is_never_pinged(autojump_clock: MockClock) -> None:
    async with session_with() as here:
        for _ in range(100):
            here.wire.bytes_in += 1
            await trio.sleep(1)
        assert not here.session.ended.is_set()
        assert here.control._unread == b""


@pytest.mark.parametrize(
    ("message", "outcome"),
    [
        (b"\x63", (Fault.MALFORMED, "control message of type 99")),
        (encode(Hello(bytes(32), bytes(8), ())), (Fault.MALFORMED, "a second hello")),
        (encode(Goodbye(Fault.FULL, "no room")), (Fault.FULL, "no room (said the peer)")),
    ],
)
async def test_control_messages_that_end_a_session(
    message: bytes, outcome: tuple[Fault, str], autojump_clock: MockClock
) -> None:
    async with session_with() as here:
        await here.control.write(frame(message))
        assert await outcome_of(here) == outcome


async def test_a_flood_of_control_messages_ends_the_session(autojump_clock: MockClock) -> None:
    async with session_with() as here:
        await here.control.write(frame(encode(Pong(1))) * 300)
        assert await outcome_of(here) == (Fault.FLOOD, "more than 16.0 control messages a second")


@pytest.mark.parametrize("which", ["control", "exchange", "consensus", "transactions"])
async def test_any_stream_that_ends_is_the_end(which: str, autojump_clock: MockClock) -> None:
    async with session_with() as here:
        pipes = {"control": here.control, "exchange": here.exchange}
        pipes |= {lane.name.lower(): here.lanes[lane] for lane in Lane}
        pipes[which].end()
        assert (await outcome_of(here))[0] is Fault.CONNECTION_LOST


async def test_our_own_reason_comes_first_and_is_told(autojump_clock: MockClock) -> None:
    async with session_with() as here:
        here.session.end(Fault.BANNED, "too many lies")
        here.session.end(Fault.FULL, "later")
        assert await outcome_of(here) == (Fault.BANNED, "too many lies")
        assert await here.heard() == Goodbye(Fault.BANNED, "too many lies")


def news(first: int, count: int) -> Peers:
    return Peers(tuple((PeerId(f"p{n}"), ("/ip4/127.0.0.1/tcp/1",)) for n in range(first, first + count)))


async def test_news_beyond_a_rate_is_passed_over(autojump_clock: MockClock) -> None:
    async with session_with() as here:
        messages = [news(16 * n, 16) for n in range(40)]
        await here.control.write(b"".join(frame(encode(message)) for message in messages))
        await wait_all_tasks_blocked()
        assert here.news == messages[: int(NEWS_BURST) // 16]
        await trio.sleep(1)
        here.wire.bytes_in += 1
        late = news(0, int(NEWS_RATE))
        for message in (late, news(100, 1), Ping(7)):
            await here.control.write(frame(encode(message)))
        assert await here.heard() == Pong(7)
        assert here.news[int(NEWS_BURST) // 16 :] == [late]


async def test_others_have_their_turn_between_two_control_messages(autojump_clock: MockClock) -> None:
    async with session_with() as here, trio.open_nursery() as nursery:
        seen: list[int] = []

        async def others() -> None:
            while len(here.news) < 20:
                seen.append(len(here.news))
                await trio.lowlevel.checkpoint()

        nursery.start_soon(others)
        await here.control.write(b"".join(frame(encode(news(n, 1))) for n in range(20)))
    assert len(set(seen)) >= 10
