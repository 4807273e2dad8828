"""Announcements on a gossipsub topic, for any libp2p client that cares to listen.

We speak `/meshsub/1.1.0` as a publisher that subscribes to nothing: we read who subscribes to our topic, and
send those peers each announcement, signed. To the listener that is ordinary gossipsub (a message from outside
its mesh, as a publisher's first hop may be), and it may pass the message on. Whoever runs a Headrace node
learns of final blocks from consensus or sync and has no use for the topic, so nodes never relay, and no
message of a stranger is ever parsed further than its field numbers.

This is why py-libp2p's own Pubsub is not used: three of its four remote kills, its silent losses, its limit
of 10 messages a second, and its 2 to 16 ms a message all sit in the receiving and relaying half.

Specification: https://github.com/libp2p/specs/blob/master/pubsub/README.md
"""

import logging
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final
from weakref import WeakKeyDictionary

import trio
from libp2p.crypto.keys import KeyPair
from libp2p.peer.id import ID

from p2p.wire.buckets import TokenBucket
from p2p.wire.faults import Fault, PeerFault, first_fault
from p2p.wire.frames import ByteStream, FrameReader, write
from p2p.wire.protobuf import bytes_field, encode_varint, fields

log = logging.getLogger(__name__)

MESHSUB: Final = "/meshsub/1.1.0"

MAX_RPC: Final = 64 * 1024
"""Largest gossip message that is read, bytes; a subscription has fifty."""

RPC_RATE: Final = 16 * 1024.0
"""Gossip bytes a second read over one connection once the burst of `RPC_BURST` is used up."""

RPC_BURST: Final = 2.0 * MAX_RPC

RPC_COST: Final = 512
"""What a gossip message costs beside its bytes: what it costs us to handle even an empty one."""

FINISHING_SECONDS: Final = 10.0
"""Patience with a listener that has left and still has to take what is being written to it."""

KEPT: Final = 16
"""Announcements kept for a listener that does not keep up."""

_SIGNING_PREFIX: Final = b"libp2p-pubsub:"
_SUBSCRIPTIONS, _PUBLISH = 1, 2
_SUBSCRIBE, _TOPIC_ID = 1, 2


def announcement_topic(chain_tag: bytes) -> str:
    """Name of the topic on which nodes of a chain announce."""
    return f"/headrace/{chain_tag[:8].hex()}/final/1"


@dataclass(slots=True, eq=False)
class _Guest:
    """A peer with a gossip stream, whether it subscribes or not."""

    stream: ByteStream
    """The newest one that it opened."""
    waiting: deque[bytes] = field(default_factory=lambda: deque(maxlen=KEPT))
    arrived: trio.Event = field(default_factory=trio.Event)
    writing: trio.Lock = field(default_factory=trio.Lock)
    """Held while we write to the peer."""
    subscribes: bool = False
    is_fed: bool = False


class Announcer:
    """Knows who listens, and sends them announcements."""

    def __init__(self, key_pair: KeyPair, topic: str, *, sequence: int) -> None:
        self._key = key_pair.private_key
        self._author = ID.from_pubkey(key_pair.public_key).to_bytes()
        self._topic = topic.encode("ascii")
        # Must grow across restarts, or listeners take new messages for repeated ones.
        self._sequence = sequence
        self._guests: dict[object, _Guest] = {}
        # These outlive the streams: who opens one after the other must not get a fresh burst with each.
        self._buckets: WeakKeyDictionary[object, TokenBucket] = WeakKeyDictionary()
        self.sent = 0

    @property
    def listeners(self) -> int:
        """How many peers subscribe."""
        return len(self._subscribers())

    def listens(self, connection: object) -> bool:
        """Whether the peer at the other end of `connection` subscribed."""
        guest = self._guests.get(connection)
        return guest is not None and guest.subscribes

    def _subscribers(self) -> list[_Guest]:
        return [guest for guest in self._guests.values() if guest.subscribes]

    def announce(self, payload: bytes) -> None:
        """Queue `payload` for every listener."""
        listeners = self._subscribers()
        if not listeners:
            return
        rpc = bytes_field(_PUBLISH, self._signed(payload))
        packet = encode_varint(len(rpc)) + rpc
        for listener in listeners:
            listener.waiting.append(packet)
            listener.arrived.set()

    async def serve(
        self, connection: object, stream: ByteStream, open_stream: Callable[[], Awaitable[ByteStream]]
    ) -> None:
        """Read one peer's gossip stream until it ends, and feed the peer while it subscribes.

        A peer has one such stream and is fed on one: a second one that it opens takes the place of the first,
        as with go-libp2p and js-libp2p, and is served by the call that serves the first.

        Raises:
            PeerFault: `MALFORMED`, `TOO_LARGE` or `CONNECTION_LOST`.
        """
        guest = self._guests.get(connection)
        if guest is not None:
            older, guest.stream = guest.stream, stream
            await older.reset()
            return
        guest = self._guests[connection] = _Guest(stream)
        try:
            async with trio.open_nursery() as nursery:
                ended = await self._read_streams(
                    connection, guest, lambda: nursery.start_soon(self._feed, guest, open_stream)
                )
                # A write that is cut short would end the whole connection.
                with trio.move_on_after(FINISHING_SECONDS):
                    await guest.writing.acquire()
                nursery.cancel_scope.cancel()
            raise ended
        except* PeerFault as group:
            raise first_fault(group) from None
        finally:
            del self._guests[connection]
            await guest.stream.reset()

    async def _read_streams(
        self, connection: object, guest: _Guest, start_feeding: Callable[[], None]
    ) -> PeerFault:
        """Read the peer's newest stream until it ends; returns why it did."""
        now = trio.current_time()
        bucket = self._buckets.setdefault(connection, TokenBucket(rate=RPC_RATE, burst=RPC_BURST, now=now))
        while True:
            stream = guest.stream
            try:
                reader = FrameReader(stream)
                while True:
                    rpc = await _read_rpc(reader)
                    subscribes = self._subscription(rpc)
                    if subscribes is not None:
                        guest.subscribes = subscribes
                    if not guest.subscribes:
                        guest.waiting.clear()
                    elif not guest.is_fed:
                        guest.is_fed = True
                        start_feeding()
                    await trio.sleep(bucket.take(RPC_COST + len(rpc), trio.current_time()))
            except PeerFault as ended:
                if guest.stream is stream:
                    return ended

    async def _feed(self, guest: _Guest, open_stream: Callable[[], Awaitable[ByteStream]]) -> None:
        """Send what waits, until cancelled; who unsubscribes keeps the stream and gets nothing more."""
        async with guest.writing:
            stream = await open_stream()
        try:
            while True:
                while guest.waiting:
                    packet = guest.waiting.popleft()
                    async with guest.writing:
                        await write(stream, packet)
                    self.sent += 1
                guest.arrived = trio.Event()
                await guest.arrived.wait()
        finally:
            await stream.reset()

    def _subscription(self, rpc: bytes) -> bool | None:
        """What an RPC says about our topic in the end, if anything; all else in it is passed over."""
        found = None
        for number, value in fields(memoryview(rpc)):
            if number != _SUBSCRIPTIONS or isinstance(value, int):
                continue
            ours, subscribes = False, False
            for option, setting in fields(value):
                if option == _SUBSCRIBE:
                    subscribes = setting == 1
                elif option == _TOPIC_ID and not isinstance(setting, int):
                    ours = bytes(setting) == self._topic
            if ours:
                found = subscribes
        return found

    def _signed(self, payload: bytes) -> bytes:
        self._sequence += 1
        message = (
            bytes_field(1, self._author)
            + bytes_field(2, payload)
            + bytes_field(3, self._sequence.to_bytes(8, "big"))
            + bytes_field(4, self._topic)
        )
        return message + bytes_field(5, self._key.sign(_SIGNING_PREFIX + message))


async def _read_rpc(reader: FrameReader) -> bytes:
    size = 0
    for shift in range(0, 35, 7):
        (byte,) = await reader.exactly(1)
        size |= (byte & 0x7F) << shift
        if byte < 0x80:
            break
    if size > MAX_RPC:
        raise PeerFault(Fault.TOO_LARGE, f"gossip message of {size} bytes, the limit is {MAX_RPC}")
    return await reader.exactly(size)
