"""The first exchange on a connection: who speaks which version of the protocol, for which chain.

The dialer opens the control stream and says hello; the listener answers with its own hello or a goodbye that
says why not. The dialer then opens the other streams, and both have a session.
"""

from collections.abc import Callable
from typing import Final

from p2p.network import Lane
from p2p.peers.session import PeerLeft, say_goodbye
from p2p.wire.control import MAX_CONTROL, Goodbye, Hello, decode, encode
from p2p.wire.faults import Fault, PeerFault
from p2p.wire.frames import ByteStream, FrameReader, frame, write

CONTROL: Final = "/headrace/control/1"
EXCHANGE: Final = "/headrace/exchange/1"
LANES: Final = {
    Lane.CONSENSUS: "/headrace/consensus/1",
    Lane.TRANSACTIONS: "/headrace/transactions/1",
}

Check = Callable[[Hello], object]
"""Raises `PeerFault` if we do not want this peer."""


async def greet(stream: ByteStream, reader: FrameReader, ours: Hello, check: Check) -> Hello:
    """The dialer's half; returns what the listener said.

    Raises:
        PeerFault: We do not fit together, or the peer does not know the protocol.
    """
    await write(stream, frame(encode(ours)))
    try:
        theirs = await _read_hello(reader)
        check(theirs)
    except PeerFault as fault:
        await say_goodbye(stream, fault)
        raise
    return theirs


async def answer(stream: ByteStream, reader: FrameReader, ours: Hello, check: Check) -> Hello:
    """The listener's half; returns what the dialer said. The caller must be ready for the other streams.

    Raises:
        PeerFault: We do not fit together, or the peer does not know the protocol.
    """
    try:
        theirs = await _read_hello(reader)
        check(theirs)
    except PeerFault as fault:
        await say_goodbye(stream, fault)
        raise
    await write(stream, frame(encode(ours)))
    return theirs


async def _read_hello(reader: FrameReader) -> Hello:
    message = decode(await reader.frame(MAX_CONTROL))
    if isinstance(message, Goodbye):
        raise PeerLeft(message.fault, message.sentence)
    if not isinstance(message, Hello):
        raise PeerFault(Fault.MALFORMED, f"{type(message).__name__} instead of a hello")
    return message
