"""BLAKE3 with a key per purpose, so that no hash of one kind can be passed off as another."""

from typing import Final

from blake3 import blake3

HASH_BYTES: Final = 32


def domain(name: str) -> bytes:
    """The 32-byte key of one purpose.

    Args:
        name: the purpose, unique in this package.
    """
    return blake3(b"headrace/pouw/1/" + name.encode()).digest()


def keyed(key: bytes, data: bytes) -> bytes:
    """BLAKE3 of data under a 32-byte key, 32 bytes."""
    return blake3(data, key=key).digest()


def u32(value: int) -> bytes:
    """Four bytes, little endian."""
    return value.to_bytes(4, "little")


def u64(value: int) -> bytes:
    """Eight bytes, little endian."""
    return value.to_bytes(8, "little")


def i64(value: int) -> bytes:
    """Eight bytes, little endian, two's complement."""
    return value.to_bytes(8, "little", signed=True)


def framed(*parts: bytes) -> bytes:
    """Parts joined with their lengths, so that no two lists of parts give the same bytes."""
    return b"".join(u32(len(part)) + part for part in parts)
