"""Which peer a consensus key speaks through: a statement that the key signs.

Noise proves whose *peer* key is at the other end of a connection; this ties that peer to a key that has a say
in the chain. It is public, holds for one chain, and the one with the highest serial replaces those before it.

    signed:  "headrace/peer-of-key/1" | u8 0 | 32 chain tag | u64 serial | peer id | list of addresses
    sent:    32 key | u64 serial | peer id | list of addresses | 64 signature

Texts and lists as in `control`. The signed bytes are never as short as the 32-byte digests that the same key
signs as votes, so that neither can pass for the other.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from p2p.addresses.multiaddrs import clean_addresses
from p2p.network import PeerId
from p2p.wire.control import (
    CHAIN_TAG_SIZE,
    MAX_ADDRESS,
    MAX_ADDRESSES,
    MAX_PEER_ID,
    Fields,
    encode_text,
    encode_texts,
)

KEY_SIZE: Final = 32
SIGNATURE_SIZE: Final = 64
MAX_CREDENTIAL: Final = (
    KEY_SIZE + 8 + 1 + MAX_PEER_ID + 1 + MAX_ADDRESSES * (1 + MAX_ADDRESS) + SIGNATURE_SIZE
)
"""Largest encoded credential, bytes."""

_TAG: Final = b"headrace/peer-of-key/1\0"

Sign = Callable[[bytes], bytes]
Verify = Callable[[bytes, bytes, bytes], bool]
"""Whether (key, message, signature) fit; the chain's own rule, given from above."""


@dataclass(frozen=True, slots=True)
class Credential:
    """A consensus key says: this peer is mine.

    Attributes:
        key: The consensus key, 32 bytes.
        serial: The higher one counts; milliseconds since 1970 when it was signed.
        peer: The peer id it speaks through.
        addresses: Multiaddrs where that peer listens, as far as its owner can say; may be empty.
        signature: By `key`, 64 bytes.
    """

    key: bytes
    serial: int
    peer: PeerId
    addresses: tuple[str, ...]
    signature: bytes

    def encode(self) -> bytes:
        """The bytes that travel."""
        head = self.key + self.serial.to_bytes(8, "big")
        return head + encode_text(self.peer) + encode_texts(self.addresses) + self.signature

    def is_signed(self, chain_tag: bytes, verify: Verify) -> bool:
        """Whether it is what its key says about this chain."""
        message = _message(chain_tag, self.serial, self.peer, self.addresses)
        return verify(self.key, message, self.signature)


def make_credential(
    sign: Sign, *, key: bytes, chain_tag: bytes, serial: int, peer: PeerId, addresses: tuple[str, ...]
) -> Credential:
    """A credential for `peer`; `sign` signs with `key`. Addresses that mean "any of mine" are left out."""
    known = clean_addresses(addresses)[:MAX_ADDRESSES]
    return Credential(key, serial, peer, known, sign(_message(chain_tag, serial, peer, known)))


def decode_credentials(data: bytes, *, limit: int) -> tuple[Credential, ...]:
    """The credentials in `data`, one behind the other, signatures unchecked.

    Raises:
        PeerFault: `MALFORMED`, or more than `limit` of them.
    """
    fields = Fields(data)
    found: list[Credential] = []
    while not fields.is_over():
        if len(found) == limit:
            raise fields.fault(f"more than {limit} credentials")
        found.append(
            Credential(
                key=fields.take(KEY_SIZE),
                serial=fields.number(8),
                peer=PeerId(fields.text(MAX_PEER_ID)),
                addresses=fields.texts(MAX_ADDRESSES, MAX_ADDRESS),
                signature=fields.take(SIGNATURE_SIZE),
            )
        )
    return tuple(found)


def _message(chain_tag: bytes, serial: int, peer: PeerId, addresses: tuple[str, ...]) -> bytes:
    assert len(chain_tag) == CHAIN_TAG_SIZE, f"a chain tag of {len(chain_tag)} bytes"
    return _TAG + chain_tag + serial.to_bytes(8, "big") + encode_text(peer) + encode_texts(addresses)
