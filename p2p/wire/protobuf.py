"""The little of protobuf that gossip needs: fields in, fields out, nothing built in between.

Wire format: https://protobuf.dev/programming-guides/encoding/
"""

from collections.abc import Iterator

from p2p.wire.faults import Fault, PeerFault

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def fields(data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Number and value of each field of a message; a value is an integer or a slice of `data`.

    Raises:
        PeerFault: `MALFORMED`.
    """
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        kind = key & 7
        if kind == _VARINT:
            value, at = _varint(data, at)
            yield key >> 3, value
            continue
        if kind == _BYTES:
            size, at = _varint(data, at)
        elif kind in (_FIXED32, _FIXED64):
            size = 4 if kind == _FIXED32 else 8
        else:
            raise PeerFault(Fault.MALFORMED, f"protobuf wire type {kind}")
        if size > len(data) - at:
            raise PeerFault(Fault.MALFORMED, f"protobuf field of {size} bytes, {len(data) - at} are left")
        yield key >> 3, data[at : at + size]
        at += size


def bytes_field(number: int, value: bytes) -> bytes:
    """A field that holds bytes, a string or a message."""
    return encode_varint(number << 3 | _BYTES) + encode_varint(len(value)) + value


def encode_varint(value: int) -> bytes:
    """An unsigned integer, seven bits a byte, the low ones first."""
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            break
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise PeerFault(Fault.MALFORMED, "protobuf number without end")
