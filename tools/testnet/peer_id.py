"""libp2p's name for an ed25519 identity, worked out without libp2p, whose import takes a second."""

from typing import Final

_ALPHABET: Final = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
"""Base 58: no 0, O, I and l, which look alike."""
_IDENTITY_MULTIHASH: Final = b"\x00\x24"
"""Hash function 0 (the content itself), 36 bytes."""
_ED25519_KEY: Final = b"\x08\x01\x12\x20"
"""Protobuf of a libp2p public key: type 1 (ed25519), 32 bytes of data."""


def peer_id(public_key: bytes) -> str:
    """The peer id of a 32-byte public key (libp2p specs, peer-ids)."""
    assert len(public_key) == 32, "an ed25519 public key"
    return base58(_IDENTITY_MULTIHASH + _ED25519_KEY + public_key)


def base58(data: bytes) -> str:
    """Bytes as base 58; each leading zero byte is a `1`."""
    number, digits = int.from_bytes(data, "big"), ""
    while number:
        number, digit = divmod(number, len(_ALPHABET))
        digits = _ALPHABET[digit] + digits
    return "1" * (len(data) - len(data.lstrip(b"\0"))) + digits
