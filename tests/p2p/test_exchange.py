"""Requests and answers over a stream, and what a peer can do wrong there."""

import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import trio
from hypothesis import example, given
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from p2p.limits import Limits
from p2p.network import MAX_RESPONSE, PeerId, RequestFailed, RequestFailure, RequestRefused
from p2p.wire.exchange import MAX_ABANDONED, Exchange
from p2p.wire.faults import Fault, PeerFault, first_fault
from p2p.wire.frames import FrameReader, frame
from p2p.wire.methods import MAX_DETAIL, Methods, Status
from tests.memory_bound import FIXED, peak_of
from tests.p2p.pipes import Pipe, Replay, pipe

A, B = PeerId("a"), PeerId("b")


async def echo(_peer: PeerId, payload: bytes) -> bytes:
    return payload


async def sleep(_peer: PeerId, payload: bytes) -> bytes:
    await trio.sleep(float(payload))
    return b"slept"


async def refuse(_peer: PeerId, _payload: bytes) -> bytes:
    raise RequestRefused("not " + "very " * 100)


async def broken(_peer: PeerId, _payload: bytes) -> bytes:
    raise KeyError("bug")


def methods() -> Methods:
    table = Methods(timeout=30)
    for handler in (echo, sleep, refuse, broken):
        table.add(handler.__name__, handler, 1000)
    return table


@asynccontextmanager
async def two_sides(limits: Limits | None = None) -> AsyncIterator[tuple[Exchange, Exchange, Pipe]]:
    near, far = pipe(room=100_000)
    a, b = (Exchange(peer, methods(), limits or Limits()) for peer in (B, A))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run_until_lost, a, near)
        nursery.start_soon(run_until_lost, b, far)
        yield a, b, near
        near.end()


async def run_until_lost(exchange: Exchange, stream: Pipe) -> None:
    try:
        await exchange.run(stream)
    except* PeerFault as group:
        if first_fault(group).fault is not Fault.CONNECTION_LOST:
            raise


def request(number: int, method: bytes, payload: bytes, limit: int = 100) -> bytes:
    return frame(struct.pack("!BIIB", 0, number, limit, len(method)) + method + payload)


def answer(number: int, status: int, body: bytes) -> bytes:
    return frame(struct.pack("!BIB", 1, number, status) + body)


async def failure_of(ask: Callable[[], Awaitable[bytes]]) -> tuple[RequestFailure, str]:
    with pytest.raises(RequestFailed) as caught:
        await ask()
    return caught.value.reason, caught.value.detail


async def fault_of(data: bytes) -> tuple[Fault, str]:
    """What `data` from a peer is found to be."""
    with pytest.RaisesGroup(PeerFault, flatten_subgroups=True) as caught:
        await Exchange(B, methods(), Limits()).run(Replay(data))
    fault = first_fault(caught.value)
    return fault.fault, fault.detail


async def test_requests_cross_and_overtake(autojump_clock: MockClock) -> None:
    async with two_sides() as (a, b, _):
        order = []

        async def ask(side: Exchange, seconds: bytes) -> None:
            assert await side.ask("sleep", seconds, limit=10) == b"slept"
            order.append(seconds)

        async with trio.open_nursery() as nursery:
            for side in (a, b):
                for seconds in (b"3", b"1", b"2"):
                    nursery.start_soon(ask, side, seconds)
            big = bytes(1000)
            assert await a.ask("echo", big, limit=1000) == big
        assert order == [b"1", b"1", b"2", b"2", b"3", b"3"]


async def test_every_failure_says_why(autojump_clock: MockClock) -> None:
    async with two_sides() as (a, _, end):
        assert await failure_of(lambda: a.ask("nope", b"", limit=9)) == (
            RequestFailure.UNKNOWN_METHOD,
            "no handler for 'nope'",
        )
        assert await failure_of(lambda: a.ask("echo", bytes(1001), limit=9)) == (
            RequestFailure.TOO_LARGE,
            "request has 1001 bytes, 'echo' takes 1000",
        )
        assert await failure_of(lambda: a.ask("echo", bytes(10), limit=9)) == (
            RequestFailure.TOO_LARGE,
            "answer has 10 bytes, the limit is 9",
        )
        reason, detail = await failure_of(lambda: a.ask("refuse", b"", limit=9))
        assert (reason, len(detail), detail[:13]) == (RequestFailure.REFUSED, MAX_DETAIL, "not very very")
        assert await failure_of(lambda: a.ask("broken", b"", limit=9)) == (
            RequestFailure.PEER_FAILED,
            "internal error",
        )
        assert await failure_of(lambda: a.ask("sleep", b"31", limit=9)) == (
            RequestFailure.PEER_FAILED,
            "no answer within 30 s",
        )
        async with trio.open_nursery() as nursery:
            nursery.start_soon(failure_of, lambda: a.ask("sleep", b"5", limit=9))
            await wait_all_tasks_blocked()
            end.end()
        assert await failure_of(lambda: a.ask("echo", b"", limit=9)) == (
            RequestFailure.NOT_CONNECTED,
            "b left before it answered",
        )


async def test_a_late_answer_is_no_offence(autojump_clock: MockClock) -> None:
    async with two_sides() as (a, _, _end):
        with trio.move_on_after(1):
            await a.ask("sleep", b"2", limit=10)
        await trio.sleep(5)
        assert await a.ask("echo", b"still friends", limit=100) == b"still friends"
        assert a._abandoned == {}


async def test_requests_in_flight_are_bounded_on_both_sides(autojump_clock: MockClock) -> None:
    async with two_sides(Limits(requests_in_flight=2)) as (a, b, _):
        start = trio.current_time()
        async with trio.open_nursery() as nursery:
            for _n in range(6):
                nursery.start_soon(lambda: a.ask("sleep", b"1", limit=10))
            await wait_all_tasks_blocked()
            assert b._serving == 2
        assert trio.current_time() - start == pytest.approx(3)


async def test_a_peer_that_asks_without_bound_is_refused_and_not_stored(autojump_clock: MockClock) -> None:
    near, far = pipe(room=1e6)
    exchange = Exchange(B, methods(), Limits(requests_in_flight=2))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run_until_lost, exchange, near)
        for number in range(10):
            await far.write(request(number, b"sleep", b"9"))
        reader = FrameReader(far)
        for number in range(4, 10):
            assert await reader.frame(300) == struct.pack("!BIB", 1, number, Status.REFUSED) + (
                b"4 of your requests are in work already"
            )
        for number in range(4):
            kind, got, status = struct.unpack("!BIB", (await reader.frame(300))[:6])
            assert (kind, got in range(4), status) == (1, True, Status.OK), number
        far.end()


async def test_requests_a_second_are_bounded_and_the_rest_wait(autojump_clock: MockClock) -> None:
    async with two_sides(Limits(requests_per_second=2, requests_burst=3)) as (a, _, _end):
        start = trio.current_time()
        for _ in range(13):
            await a.ask("echo", b"", limit=0)
        assert trio.current_time() - start == pytest.approx(5)


@pytest.mark.parametrize(
    ("data", "fault", "detail"),
    [
        (frame(b""), Fault.MALFORMED, "exchange frame of 0 bytes"),
        (frame(b"\x02" + bytes(9)), Fault.MALFORMED, "exchange frame of kind 2"),
        (frame(bytes(6)), Fault.MALFORMED, "request without a proper method name"),
        (frame(bytes(10)), Fault.MALFORMED, "request without a proper method name"),
        (request(1, b"", b"x"), Fault.MALFORMED, "request without a proper method name"),
        (request(1, b"x" * 65, b""), Fault.MALFORMED, "request without a proper method name"),
        (request(1, b"\xff", b""), Fault.MALFORMED, "method name is not ASCII"),
        (answer(7, 0, b""), Fault.UNREQUESTED, "answer to request 7"),
        (b"\xff\xff\xff\xff", Fault.TOO_LARGE, "frame of 4294967295 bytes, the limit is 8388682"),
    ],
)
async def test_broken_rules(data: bytes, fault: Fault, detail: str, autojump_clock: MockClock) -> None:
    assert await fault_of(data) == (fault, detail)


@pytest.mark.parametrize(
    ("status", "body", "fault", "detail"),
    [
        (Status.OK, bytes(11), Fault.TOO_LARGE, "answer of 11 bytes, the limit is 10"),
        (Status.REFUSED, bytes(201), Fault.TOO_LARGE, "answer of 201 bytes, the limit is 200"),
        (9, b"", Fault.MALFORMED, "answer with status 9"),
    ],
)
async def test_answers_that_break_rules(
    status: int, body: bytes, fault: Fault, detail: str, autojump_clock: MockClock
) -> None:
    near, far = pipe()
    exchange = Exchange(B, methods(), Limits())
    with pytest.RaisesGroup(PeerFault, flatten_subgroups=True) as caught:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(failure_of, lambda: exchange.ask("m", b"", limit=10))
            nursery.start_soon(exchange.run, near)
            await wait_all_tasks_blocked()
            await far.write(answer(1, status, body))
    found = first_fault(caught.value)
    assert (found.fault, found.detail) == (fault, detail)


async def test_numbers_of_abandoned_requests_are_bounded(autojump_clock: MockClock) -> None:
    near, far = pipe()
    exchange = Exchange(B, methods(), Limits())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run_until_lost, exchange, near)
        for _ in range(MAX_ABANDONED + 5):
            with trio.move_on_after(1):
                await exchange.ask("m", b"", limit=10)
        assert len(exchange._abandoned) == MAX_ABANDONED
        far.end()


pieces = st.one_of(
    st.binary(max_size=20),
    st.builds(request, st.integers(0, 9), st.sampled_from([b"echo", b"no", b"\xff"]), st.binary(max_size=9)),
    st.builds(answer, st.integers(0, 9), st.integers(0, 9), st.binary(max_size=9)),
)


@given(st.lists(pieces, max_size=6))
@example([b"\x00\x00\x00\x0a" + bytes(10)])
async def test_any_bytes_end_in_a_fault(data: list[bytes]) -> None:
    fault, _ = await fault_of(b"".join(data))
    assert fault in (Fault.CONNECTION_LOST, Fault.MALFORMED, Fault.TOO_LARGE, Fault.UNREQUESTED)


def test_what_a_handler_does_not_take_is_passed_over_without_keeping_it() -> None:
    data = request(1, b"echo", bytes(MAX_RESPONSE - 100))
    stream = Replay(data, [1 << 16] * 200)

    async def feed() -> None:
        with pytest.RaisesGroup(PeerFault, flatten_subgroups=True):
            await Exchange(B, methods(), Limits()).run(stream)

    assert peak_of(lambda: trio.run(feed)) < 4 * (1 << 16) + 20 * FIXED
