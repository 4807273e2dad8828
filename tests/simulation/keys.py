"""Keys whose signatures and beacons are quick tags, and the context in which the real code believes them.

A tag costs a microsecond where ed25519 costs a hundred, and is checked exactly where a signature would be.
Anyone could forge one; the adversaries here do not, because no adversary can forge the real ones.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

import trio

from chain.crypto import ed25519, vrf

_SIGNATURE_BYTES = 64
_PROOF_TAIL = bytes(16)


class TagKey:
    """A key that signs with tags, and proves the beacon with them."""

    def __init__(self, role: str, number: int) -> None:
        name = f"{role}-{number}".encode()
        # The number leads, so that people recognise a key in a message.
        self.public_key = number.to_bytes(2, "big") + hashlib.sha256(name).digest()[2:]

    def sign(self, message: bytes) -> bytes:
        return hashlib.blake2b(self.public_key + message, digest_size=_SIGNATURE_BYTES).digest()

    def prove(self, alpha: bytes) -> bytes:
        return self.sign(b"beacon" + alpha) + _PROOF_TAIL


def verify_tag(public_key: bytes, message: bytes, signature: bytes) -> bool:
    return signature == hashlib.blake2b(public_key + message, digest_size=_SIGNATURE_BYTES).digest()


def _verify_beacon(public_key: bytes, alpha: bytes, proof: bytes) -> bytes | None:
    tag = proof[:_SIGNATURE_BYTES]
    if proof[_SIGNATURE_BYTES:] != _PROOF_TAIL or not verify_tag(public_key, b"beacon" + alpha, tag):
        return None
    return tag


def _beacon_output(proof: bytes) -> bytes | None:
    return proof[:_SIGNATURE_BYTES]


async def _no_checkpoint() -> None:
    """Nothing else runs in a simulation while a step does."""


@contextmanager
def tags_are_signatures() -> Iterator[None]:
    """The production code takes tags for signatures, and needs no event loop for its checkpoints."""
    before = ed25519.verify, vrf.verify, vrf.proof_to_hash, trio.lowlevel.checkpoint
    ed25519.verify = verify_tag
    vrf.verify, vrf.proof_to_hash = _verify_beacon, _beacon_output
    trio.lowlevel.checkpoint = _no_checkpoint
    try:
        yield
    finally:
        ed25519.verify, vrf.verify, vrf.proof_to_hash, trio.lowlevel.checkpoint = before


@lru_cache(maxsize=64)
def consensus_key(number: int) -> TagKey:
    return TagKey("consensus", number)


@lru_cache(maxsize=64)
def miner_key(number: int) -> TagKey:
    return TagKey("miner", number)


@lru_cache(maxsize=64)
def customer_key(number: int) -> TagKey:
    return TagKey("customer", number)
