"""Messages of the control stream: hello, ping, pong, peers, goodbye. Fixed layouts, read strictly.

A frame (see `frames`) of at most `MAX_CONTROL` bytes holds one message: a type byte and its fields,
big-endian, in this order; a list is a count byte and its items, a text a length byte and its bytes.

    1 hello    "HDRC" | u16 version | 32 chain tag | 8 instance | list of addresses
    2 ping     u32 number
    3 pong     u32 number
    4 peers    list of (peer id, list of addresses)
    5 goodbye  u8 reason | sentence

Whatever has a byte too few or too many, or a list or text beyond its bound, is `Fault.MALFORMED`.
"""

from dataclasses import dataclass
from typing import Final

from p2p.network import PeerId
from p2p.wire.faults import Fault, PeerFault

VERSION: Final = 2
"""Version of the protocol of all our streams; different versions do not connect. 2: `pairing`."""

MAGIC: Final = b"HDRC"
CHAIN_TAG_SIZE: Final = 32
INSTANCE_SIZE: Final = 8
MAX_ADDRESSES: Final = 4
MAX_ADDRESS: Final = 128
MAX_PEER_ID: Final = 64
MAX_PEERS: Final = 16
MAX_SENTENCE: Final = 200
MAX_CONTROL: Final = 16 * 1024
"""Limit of a control frame, bytes: a full peers message has 9.5 KiB."""

_PEERS: Final = b"\x04"


@dataclass(frozen=True, slots=True)
class Hello:
    """First message in both directions.

    Attributes:
        chain_tag: Digest of the genesis document.
        instance: Drawn anew by each process, so that a restarted peer is told from a second connection.
        addresses: Multiaddrs under which the sender listens, without peer id.
        version: Protocol version.
    """

    chain_tag: bytes
    instance: bytes
    addresses: tuple[str, ...]
    version: int = VERSION


@dataclass(frozen=True, slots=True)
class Ping:
    """Asks for a `Pong` with the same number."""

    number: int


@dataclass(frozen=True, slots=True)
class Pong:
    """Answers a `Ping`."""

    number: int


@dataclass(frozen=True, slots=True)
class Peers:
    """Where other peers of the same chain listen. Hearsay: a dial proves who is there."""

    peers: tuple[tuple[PeerId, tuple[str, ...]], ...]


@dataclass(frozen=True, slots=True)
class Goodbye:
    """Last message: why the sender leaves."""

    fault: Fault
    sentence: str


Control = Hello | Ping | Pong | Peers | Goodbye


def encode(message: Control) -> bytes:
    """The bytes of `message`, without its frame."""
    match message:
        case Hello(chain_tag, instance, addresses, version):
            head = MAGIC + version.to_bytes(2, "big") + chain_tag + instance
            return b"\x01" + head + encode_texts(addresses)
        case Ping(number):
            return b"\x02" + number.to_bytes(4, "big")
        case Pong(number):
            return b"\x03" + number.to_bytes(4, "big")
        case Peers(peers):
            return _PEERS + bytes([len(peers)]) + b"".join(encode_text(p) + encode_texts(a) for p, a in peers)
        case Goodbye(fault, sentence):
            ascii_sentence = sentence.encode("ascii", "replace")[:MAX_SENTENCE].decode("ascii")
            return b"\x05" + bytes([fault]) + encode_text(ascii_sentence)


def peers_named(data: bytes) -> int:
    """How many peers a message says that it names, without reading them; 0 if it is no `Peers`."""
    return data[1] if data[:1] == _PEERS and len(data) > 1 else 0


def decode(data: bytes) -> Control:
    """The message in `data`.

    Raises:
        PeerFault: `MALFORMED`.
    """
    fields = Fields(data)
    match fields.number(1):
        case 1:
            message: Control = _hello(fields)
        case 2:
            message = Ping(fields.number(4))
        case 3:
            message = Pong(fields.number(4))
        case 4:
            message = Peers(
                tuple(
                    (PeerId(fields.text(MAX_PEER_ID)), fields.texts(MAX_ADDRESSES, MAX_ADDRESS))
                    for _ in range(fields.count(MAX_PEERS))
                )
            )
        case 5:
            message = Goodbye(_fault(fields.number(1)), fields.text(MAX_SENTENCE))
        case kind:
            raise PeerFault(Fault.MALFORMED, f"control message of type {kind}")
    fields.end()
    return message


def _hello(fields: "Fields") -> Hello:
    magic = fields.take(len(MAGIC))
    if magic != MAGIC:
        raise PeerFault(Fault.MALFORMED, f"hello starts with {magic!r}, expected {MAGIC!r}")
    version = fields.number(2)
    if version != VERSION:
        # A later version may have other fields: nothing after this one is ours to read.
        raise PeerFault(Fault.WRONG_VERSION, f"peer speaks version {version}, we speak {VERSION}")
    return Hello(
        version=version,
        chain_tag=fields.take(CHAIN_TAG_SIZE),
        instance=fields.take(INSTANCE_SIZE),
        addresses=fields.texts(MAX_ADDRESSES, MAX_ADDRESS),
    )


def _fault(number: int) -> Fault:
    try:
        return Fault(number)
    except ValueError:
        raise PeerFault(Fault.MALFORMED, f"goodbye with unknown reason {number}") from None


def encode_text(value: str) -> bytes:
    """A length byte and ASCII."""
    data = value.encode("ascii")
    return bytes([len(data)]) + data


def encode_texts(values: tuple[str, ...]) -> bytes:
    """A count byte and texts."""
    assert len(values) <= MAX_ADDRESSES, f"{len(values)} addresses, receivers take {MAX_ADDRESSES}"
    return bytes([len(values)]) + b"".join(encode_text(value) for value in values)


class Fields:
    """Takes fields off the front of a message; every method may raise `PeerFault` with `MALFORMED`."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, n: int) -> bytes:
        """The next `n` bytes."""
        data = self._data[self._at : self._at + n]
        if len(data) < n:
            raise PeerFault(Fault.MALFORMED, f"message of {len(self._data)} bytes ends too early")
        self._at += n
        return data

    def number(self, size: int) -> int:
        """An unsigned integer of `size` bytes."""
        return int.from_bytes(self.take(size), "big")

    def count(self, limit: int) -> int:
        """The length of a list or text."""
        count = self.number(1)
        if count > limit:
            raise PeerFault(Fault.MALFORMED, f"{count} items, the limit is {limit}")
        return count

    def text(self, limit: int) -> str:
        """An ASCII text."""
        data = self.take(self.count(limit))
        if not data.isascii():
            raise PeerFault(Fault.MALFORMED, "text is not ASCII")
        return data.decode("ascii")

    def texts(self, count: int, limit: int) -> tuple[str, ...]:
        """A list of at most `count` texts."""
        return tuple(self.text(limit) for _ in range(self.count(count)))

    def is_over(self) -> bool:
        """Whether nothing is left."""
        return self._at == len(self._data)

    def fault(self, detail: str) -> PeerFault:
        """A fault of whoever sent the message."""
        return PeerFault(Fault.MALFORMED, detail)

    def end(self) -> None:
        """Nothing may be left."""
        if self._at != len(self._data):
            raise PeerFault(Fault.MALFORMED, f"{len(self._data) - self._at} bytes after the message")
