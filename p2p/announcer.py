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

RPC_RATE: Final = 64 * 1024.0
"""Gossip bytes a second read from one peer, after a burst of two seconds' worth."""

KEPT: Final = 16
"""Announcements kept for a listener that does not keep up."""

_SIGNING_PREFIX: Final = b"libp2p-pubsub:"
_SUBSCRIPTIONS, _PUBLISH = 1, 2
_SUBSCRIBE, _TOPIC_ID = 1, 2


def announcement_topic(chain_tag: bytes) -> str:
    """Name of the topic on which nodes of a chain announce."""
    return f"/headrace/{chain_tag[:8].hex()}/final/1"


@dataclass(slots=True, eq=False)
class _Listener:
    waiting: deque[bytes] = field(default_factory=lambda: deque(maxlen=KEPT))
    arrived: trio.Event = field(default_factory=trio.Event)
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)


class Announcer:
    """Knows who listens, and sends them announcements."""

    def __init__(self, key_pair: KeyPair, topic: str, *, sequence: int) -> None:
        self._key = key_pair.private_key
        self._author = ID.from_pubkey(key_pair.public_key).to_bytes()
        self._topic = topic.encode("ascii")
        # Must grow across restarts, or listeners take new messages for repeated ones.
        self._sequence = sequence
        self._listeners: dict[object, _Listener] = {}
        self.sent = 0

    @property
    def listeners(self) -> int:
        """How many peers subscribe."""
        return len(self._listeners)

    def listens(self, connection: object) -> bool:
        """Whether the peer at the other end of `connection` subscribed."""
        return connection in self._listeners

    def announce(self, payload: bytes) -> None:
        """Queue `payload` for every listener."""
        if not self._listeners:
            return
        rpc = bytes_field(_PUBLISH, self._signed(payload))
        packet = encode_varint(len(rpc)) + rpc
        for listener in self._listeners.values():
            listener.waiting.append(packet)
            listener.arrived.set()

    async def serve(
        self, connection: object, stream: ByteStream, open_stream: Callable[[], Awaitable[ByteStream]]
    ) -> None:
        """Read one peer's gossip stream until it ends, and feed the peer while it subscribes.

        Raises:
            PeerFault: `MALFORMED`, `TOO_LARGE` or `CONNECTION_LOST`.
        """
        reader = FrameReader(stream)
        bucket = TokenBucket(rate=RPC_RATE, burst=2 * RPC_RATE, now=trio.current_time())
        try:
            async with trio.open_nursery() as nursery:
                while True:
                    rpc = await _read_rpc(reader)
                    for subscribes in self._subscriptions(rpc):
                        if subscribes and connection not in self._listeners:
                            listener = self._listeners[connection] = _Listener()
                            nursery.start_soon(self._feed, listener, open_stream)
                        elif not subscribes:
                            self._drop(connection)
                    await trio.sleep(bucket.take(len(rpc), trio.current_time()))
        except* PeerFault as group:
            raise first_fault(group) from None
        finally:
            self._drop(connection)

    def _drop(self, connection: object) -> None:
        listener = self._listeners.pop(connection, None)
        if listener is not None:
            listener.scope.cancel()

    async def _feed(self, listener: _Listener, open_stream: Callable[[], Awaitable[ByteStream]]) -> None:
        with listener.scope:
            stream = await open_stream()
            while True:
                while listener.waiting:
                    await write(stream, listener.waiting.popleft())
                    self.sent += 1
                listener.arrived = trio.Event()
                await listener.arrived.wait()

    def _subscriptions(self, rpc: bytes) -> list[bool]:
        """What an RPC says about our topic, in order; everything else in it is passed over."""
        found = []
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
                found.append(subscribes)
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
