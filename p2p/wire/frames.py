"""Length-prefixed frames on a byte stream: u32 big-endian length, then as many bytes.

A length is checked against its limit before a byte of the body is read. Memory of a reader: one frame and one
chunk of `CHUNK` bytes.
"""

import struct
from typing import Final, Protocol

from libp2p.stream_muxer.exceptions import MuxedStreamEOF, MuxedStreamError

from p2p.wire.faults import Fault, PeerFault

CHUNK: Final = 64 * 1024
"""Bytes taken from the stream at once."""

LENGTH: Final = struct.Struct("!I")


class ByteStream(Protocol):
    """What we need of a muxed stream."""

    async def read(self, n: int | None = None) -> bytes:
        """Up to `n` bytes, at least one; raises a `MuxedStreamError` at the end."""
        ...

    async def write(self, data: bytes) -> None:
        """Send all of `data`; raises a `MuxedStreamError` if that cannot be."""
        ...

    async def reset(self) -> None:
        """Give up the stream in both directions."""
        ...


class FrameReader:
    """Reads frames, or parts of them, from a stream."""

    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream
        self._chunk = b""
        self._at = 0

    async def frame(self, limit: int) -> bytes:
        """The next whole frame.

        Raises:
            PeerFault: `TOO_LARGE`, or `CONNECTION_LOST` at the end of the stream.
        """
        return await self.exactly(await self.length(limit))

    async def length(self, limit: int) -> int:
        """The length of the next frame, whose body then follows.

        Raises:
            PeerFault: `TOO_LARGE`, or `CONNECTION_LOST` at the end of the stream.
        """
        (size,) = LENGTH.unpack(await self.exactly(LENGTH.size))
        if size > limit:
            raise PeerFault(Fault.TOO_LARGE, f"frame of {size} bytes, the limit is {limit}")
        return int(size)

    async def exactly(self, n: int) -> bytes:
        """The next `n` bytes.

        Raises:
            PeerFault: `CONNECTION_LOST` at the end of the stream.
        """
        end = self._at + n
        if end <= len(self._chunk):
            data = self._chunk[self._at : end]
            self._at = end
            return data
        collected = bytearray(self._chunk[self._at :])
        while len(collected) < n:
            collected += await self._read()
        self._chunk, self._at = bytes(collected[n:]), 0
        del collected[n:]
        return bytes(collected)

    async def skip(self, n: int) -> None:
        """Pass over `n` bytes without keeping them.

        Raises:
            PeerFault: `CONNECTION_LOST` at the end of the stream.
        """
        while n > len(self._chunk) - self._at:
            n -= len(self._chunk) - self._at
            self._chunk, self._at = await self._read(), 0
        self._at += n

    async def _read(self) -> bytes:
        try:
            return await self._stream.read(CHUNK)
        except MuxedStreamEOF as end:
            raise PeerFault(Fault.CONNECTION_LOST, "peer closed its stream") from end
        except MuxedStreamError as error:
            raise PeerFault(Fault.CONNECTION_LOST, str(error)) from error


async def write(stream: ByteStream, data: bytes) -> None:
    """Write `data`, which holds whole frames.

    Raises:
        PeerFault: `CONNECTION_LOST`.
    """
    try:
        await stream.write(data)
    except MuxedStreamError as error:
        raise PeerFault(Fault.CONNECTION_LOST, str(error)) from error


def frame(payload: bytes) -> bytes:
    """`payload` with its length in front."""
    return LENGTH.pack(len(payload)) + payload
