"""The state root straight from its definition, slow and without a tree: what `StateTree` is held against."""

from collections.abc import Mapping
from hashlib import sha256


def naive_root(entries: Mapping[bytes, bytes]) -> bytes:
    records = sorted(
        (sha256(b"\x00" + key).digest(), sha256(b"\x01" + value).digest()) for key, value in entries.items()
    )
    return sha256(b"headrace/state-root/1" + _node(records, 0)).digest()


def _node(records: list[tuple[bytes, bytes]], level: int) -> bytes:
    if len(records) <= 16:
        return sha256(b"\x02" + b"".join(path + value for path, value in records)).digest()
    ways: list[list[tuple[bytes, bytes]]] = [[] for _ in range(16)]
    for path, value in records:
        ways[int(path.hex()[level], 16)].append((path, value))
    return sha256(b"\x03" + b"".join(_node(way, level + 1) for way in ways)).digest()
