"""SHA-256 under a domain, so that bytes hashed for one purpose mean nothing for another."""

import hashlib
from collections.abc import Sequence


def digest(domain: str, *parts: bytes) -> bytes:
    """The 32-byte hash of ``parts``, each bound with its length, under ``domain``."""
    state = hashlib.sha256(domain.encode() + b"\x00")
    for part in parts:
        state.update(len(part).to_bytes(8, "little"))
        state.update(part)
    return state.digest()


def merkle_root(domain: str, leaves: Sequence[bytes]) -> bytes:
    """Root over ``leaves`` in order; the count is bound, so no padding can stand for a leaf."""
    level = [hashlib.sha256(b"\x00" + leaf).digest() for leaf in leaves]
    while len(level) > 1:
        odd = level[-1:] if len(level) % 2 else []
        level = [
            hashlib.sha256(b"\x01" + left + right).digest()
            for left, right in zip(level[::2], level[1::2], strict=False)
        ] + odd
    return digest(domain, len(leaves).to_bytes(8, "little"), level[0] if level else b"")
