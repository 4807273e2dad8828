"""TCP for libp2p: listeners that do not share their port, streams that read what they were asked for."""

import socket

import trio
from libp2p.io.abc import ReadWriteCloser
from libp2p.io.exceptions import ConnectionClosedError

RECEIVE_SIZE = 64 * 1024
"""Bytes asked from the socket at once: one whole noise message."""


class ExactTcpStream(ReadWriteCloser):  # type: ignore[misc]
    """A TCP connection whose `read(n)` returns exactly `n` bytes unless the peer closes before.

    Cures: `read_exactly` of the library gives up after 100 short reads, so a message of 64 KiB that arrived
    in segments of 600 bytes killed the connection. Also one system call per noise message instead of two.
    One reader and one writer at a time, which the layers above guarantee.
    """

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._unread = bytearray()
        self._remote = _remote_of(stream)

    async def read(self, n: int | None = None) -> bytes:
        """Exactly `n` bytes; whatever there is, if `n` is None; fewer or none at the end.

        Raises:
            ConnectionClosedError: The connection was reset, or closed by us.
        """
        unread = self._unread
        while len(unread) < (1 if n is None else n):
            try:
                chunk = await self._stream.receive_some(RECEIVE_SIZE)
            except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
                raise ConnectionClosedError(str(error), transport="tcp") from error
            if not chunk:
                break
            unread += chunk
        if n is None or n >= len(unread):
            data = bytes(unread)
            unread.clear()
        else:
            data = bytes(unread[:n])
            del unread[:n]
        return data

    async def write(self, data: bytes) -> None:
        """Send all of `data`.

        Raises:
            ConnectionClosedError: The connection was reset, or closed by us.
        """
        try:
            await self._stream.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise ConnectionClosedError(str(error), transport="tcp") from error

    async def close(self) -> None:
        """Close the socket."""
        await self._stream.aclose()

    def get_remote_address(self) -> tuple[str, int] | None:
        """Host and port of the other end."""
        return self._remote


async def open_exclusive_listener(host: str, port: int) -> trio.SocketListener:
    """Listen on `host`:`port` alone.

    Cures: the library listens with SO_REUSEPORT, so that a second node on the same port starts without a word
    and takes away half of the connections of the first.

    Raises:
        OSError: The address is in use or not ours; the message names it.
    """
    family = trio.socket.AF_INET6 if ":" in host else trio.socket.AF_INET
    sock = trio.socket.socket(family, trio.socket.SOCK_STREAM)
    try:
        # A restarted node may take its port back while old connections still linger.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == trio.socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        await sock.bind((host, port))
        sock.listen(min(socket.SOMAXCONN, 1024))
    except OSError as error:
        sock.close()
        raise OSError(error.errno, f"cannot listen on {host} port {port}: {error.strerror}") from error
    return trio.SocketListener(sock)


def _remote_of(stream: trio.SocketStream) -> tuple[str, int] | None:
    try:
        host, port, *_ = stream.socket.getpeername()
    except OSError:
        return None
    return str(host), int(port)
