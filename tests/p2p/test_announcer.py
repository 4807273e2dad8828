"""Announcements: the little of gossipsub and protobuf that we speak."""

from functools import partial

import pytest
import trio
from hypothesis import example, given
from hypothesis import strategies as st
from libp2p.pubsub.pb import rpc_pb2
from libp2p.pubsub.validators import signature_validator
from libp2p.stream_muxer.exceptions import MuxedStreamReset
from trio.testing import MockClock

from p2p.announcer import KEPT, MAX_RPC, RPC_BURST, RPC_COST, RPC_RATE, Announcer, announcement_topic
from p2p.identity import key_pair_of
from p2p.wire.faults import Fault, PeerFault
from p2p.wire.protobuf import bytes_field, encode_varint, fields
from tests.memory_bound import FIXED, peak_of
from tests.p2p.nodes import TAG, seed
from tests.p2p.pipes import Pipe, Replay, pipe

TOPIC = announcement_topic(TAG)


def announcer() -> Announcer:
    return Announcer(key_pair_of(seed(1)), TOPIC, sequence=100)


def packet(rpc: rpc_pb2.RPC) -> bytes:
    data: bytes = rpc.SerializeToString()
    return encode_varint(len(data)) + data


def subscription(topic: str, *, subscribe: bool) -> rpc_pb2.RPC:
    return rpc_pb2.RPC(subscriptions=[rpc_pb2.RPC.SubOpts(subscribe=subscribe, topicid=topic)])


class Listening:
    """One peer's two gossip streams, seen from its end."""

    def __init__(self, *, room: float = float("inf")) -> None:
        self.towards, self._served = pipe()
        self._back, self.back = pipe(room=room)
        self.opened = 0

    async def serve(self, source: Announcer) -> None:
        with pytest.raises(PeerFault, match="connection lost: peer closed its stream"):
            await source.serve(self, self._served, self.open_stream)

    async def open_stream(self) -> Pipe:
        self.opened += 1
        return self._back

    async def messages(self) -> list[rpc_pb2.Message]:
        data = bytearray(await self.back.read())
        found: list[rpc_pb2.Message] = []
        while data:
            size = data.pop(0)
            if size >= 128:
                size = size & 127 | data.pop(0) << 7
            found += rpc_pb2.RPC.FromString(bytes(data[:size])).publish
            del data[:size]
        return found


async def test_subscribers_get_signed_messages_until_they_leave(autojump_clock: MockClock) -> None:
    source, here = announcer(), Listening()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(here.serve, source)
        source.announce(b"nobody hears this")
        await here.towards.write(packet(subscription("other", subscribe=True)))
        await here.towards.write(packet(subscription(TOPIC, subscribe=True)))
        await trio.testing.wait_all_tasks_blocked()
        assert (source.listeners, source.listens(here)) == (1, True)
        source.announce(b"one")
        source.announce(b"two")
        await trio.testing.wait_all_tasks_blocked()
        messages = await here.messages()
        assert [message.data for message in messages] == [b"one", b"two"]
        assert [message.seqno for message in messages] == [n.to_bytes(8, "big") for n in (101, 102)]
        for message in messages:
            assert (list(message.topicIDs), message.HasField("key")) == ([TOPIC], False)
            public_key = key_pair_of(seed(1)).public_key
            message.key = public_key.serialize()
            assert signature_validator(message)
        await here.towards.write(packet(subscription(TOPIC, subscribe=False)))
        await trio.testing.wait_all_tasks_blocked()
        assert source.listeners == 0
        here.towards.end()


async def test_a_slow_listener_keeps_the_latest(autojump_clock: MockClock) -> None:
    source, here = announcer(), Listening()
    here._back.other._room = 0
    async with trio.open_nursery() as nursery:
        nursery.start_soon(here.serve, source)
        await here.towards.write(packet(subscription(TOPIC, subscribe=True)))
        await trio.testing.wait_all_tasks_blocked()
        for n in range(100):
            source.announce(bytes([n]))
        await trio.testing.wait_all_tasks_blocked()
        # One is on its way out.
        assert len(source._guests[here].waiting) == KEPT - 1
        here.towards.end()
    assert source.listeners == 0


@pytest.mark.parametrize(
    ("data", "fault", "detail"),
    [
        (encode_varint(MAX_RPC + 1), Fault.TOO_LARGE, "gossip message of 65537 bytes, the limit is 65536"),
        (b"\xff" * 5, Fault.TOO_LARGE, "gossip message of 34359738367 bytes, the limit is 65536"),
        (b"\x02\x0a\x05", Fault.MALFORMED, "protobuf field of 5 bytes, 0 are left"),
        (b"\x01\x0b", Fault.MALFORMED, "protobuf wire type 3"),
        (b"\x01\xff", Fault.MALFORMED, "protobuf number without end"),
    ],
)
async def test_bad_packets_have_a_reason(
    data: bytes, fault: Fault, detail: str, autojump_clock: MockClock
) -> None:
    with pytest.raises(PeerFault) as caught:
        await announcer().serve(Listening(), Replay(data), Listening().open_stream)
    assert (caught.value.fault, caught.value.detail) == (fault, detail)


async def seconds_to_read(source: Announcer, peer: object, data: bytes) -> float:
    start = trio.current_time()
    with pytest.raises(PeerFault, match="peer closed its stream"):
        await source.serve(peer, Replay(data), Listening().open_stream)
    return trio.current_time() - start


async def test_a_flood_of_packets_is_read_slowly(autojump_clock: MockClock) -> None:
    full = encode_varint(MAX_RPC) + bytes_field(9, bytes(MAX_RPC - 4))
    expected = (12 * (MAX_RPC + RPC_COST) - RPC_BURST) / RPC_RATE
    assert await seconds_to_read(announcer(), Listening(), full * 12) == pytest.approx(expected, abs=0.1)


async def test_a_flood_of_empty_packets_is_read_slowly(autojump_clock: MockClock) -> None:
    expected = (1000 * RPC_COST - RPC_BURST) / RPC_RATE
    assert await seconds_to_read(announcer(), Listening(), bytes(1000)) == pytest.approx(expected, abs=0.1)


async def test_a_new_stream_is_no_new_burst(autojump_clock: MockClock) -> None:
    source, peer = announcer(), Listening()
    assert await seconds_to_read(source, peer, bytes(int(RPC_BURST / RPC_COST))) == 0
    assert await seconds_to_read(source, peer, bytes(32)) == pytest.approx(32 * RPC_COST / RPC_RATE)


@pytest.mark.parametrize("subscribe", [False, True])
async def test_of_many_changes_of_mind_the_last_one_counts(
    subscribe: bool, autojump_clock: MockClock
) -> None:
    source, here = announcer(), Listening()
    changes = rpc_pb2.RPC()
    for n in range(701):
        changes.MergeFrom(subscription(TOPIC, subscribe=subscribe == (n % 2 == 0)))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(here.serve, source)
        await here.towards.write(packet(changes))
        await trio.testing.wait_all_tasks_blocked()
        assert (here.opened, source.listeners) == (subscribe, subscribe)
        here.towards.end()


async def test_who_comes_back_is_fed_on_the_same_stream(autojump_clock: MockClock) -> None:
    source, here = announcer(), Listening()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(here.serve, source)
        for subscribe in (True, False) * 20 + (True,):
            await here.towards.write(packet(subscription(TOPIC, subscribe=subscribe)))
            await trio.testing.wait_all_tasks_blocked()
            source.announce(b"now?")
            await trio.testing.wait_all_tasks_blocked()
        assert len(await here.messages()) == 21
        assert here.opened == 1
        here.towards.end()


@pytest.mark.parametrize("leave", ["unsubscribe", "close"])
async def test_who_leaves_is_written_to_until_the_message_is_whole(
    leave: str, autojump_clock: MockClock
) -> None:
    source, here = announcer(), Listening(room=100)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(here.serve, source)
        await here.towards.write(packet(subscription(TOPIC, subscribe=True)))
        await trio.testing.wait_all_tasks_blocked()
        source.announce(bytes(1000))
        source.announce(b"too late")
        await trio.testing.wait_all_tasks_blocked()
        if leave == "close":
            here.towards.end()
        else:
            await here.towards.write(packet(subscription(TOPIC, subscribe=False)))
        await trio.testing.wait_all_tasks_blocked()
        assert source.sent == 0
        with trio.fail_after(1):
            while source.sent == 0:
                await here.back.read()
                await trio.testing.wait_all_tasks_blocked()
        here.towards.end()
    assert (source.sent, source.listeners) == (1, 0)


async def test_a_newer_stream_takes_the_place_of_the_older(autojump_clock: MockClock) -> None:
    source, here = announcer(), Listening()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(here.serve, source)
        await here.towards.write(packet(subscription(TOPIC, subscribe=True)))
        await trio.testing.wait_all_tasks_blocked()
        older = here.towards
        here.towards, newer = pipe()
        await source.serve(here, newer, here.open_stream)
        with pytest.raises(MuxedStreamReset):
            await older.read()
        source.announce(b"still here")
        await trio.testing.wait_all_tasks_blocked()
        assert [message.data for message in await here.messages()] == [b"still here"]
        await here.towards.write(packet(subscription(TOPIC, subscribe=False)))
        await trio.testing.wait_all_tasks_blocked()
        assert (here.opened, source.listeners) == (1, 0)
        here.towards.end()
    assert source._guests == {}


@given(st.binary(max_size=200))
@example(b"\x0a\x02\x12\x00")
def test_any_bytes_are_fields_or_a_fault(data: bytes) -> None:
    try:
        found = list(fields(memoryview(data)))
        announcer()._subscription(data)
    except PeerFault as fault:
        assert fault.fault is Fault.MALFORMED, fault  # noqa: PT017 - no fault is fine, too
    else:
        assert sum(len(value) for _, value in found if not isinstance(value, int)) <= len(data)


@given(st.integers(0, 2**64 - 1), st.integers(1, 1000), st.binary(max_size=300))
def test_what_is_encoded_is_read_back(value: int, number: int, data: bytes) -> None:
    message = bytes_field(number, data) + encode_varint(number << 3) + encode_varint(value)
    first, second = fields(memoryview(message))
    assert first[0] == second[0] == number
    assert not isinstance(first[1], int)
    assert (bytes(first[1]), second[1]) == (data, value)


def test_memory_of_a_packet_is_bounded() -> None:
    source = announcer()
    for field in (b"\x0a\x00", b"\x0a\x02\x08\x01", b"\x08\x01", b"\x12\x00"):
        data = field * (MAX_RPC // len(field))
        assert peak_of(partial(source._subscription, data)) <= 8 * len(data) + FIXED
