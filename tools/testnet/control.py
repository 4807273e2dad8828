"""Orders to a running testnet, over a Unix socket in its folder: one line of JSON each way, then the end.

    {"do": "kill", "name": "validator-2"}   ->   {"ok": true} or {"error": "validator-2 does not run"}

Only who may write in the folder can give orders. The socket, not a pid in a file, says whether a testnet
runs: it answers or it does not.
"""

import enum
import json
import os
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import trio

SOCKET_NAME: Final = "control.sock"
MAX_PATH_BYTES: Final = 100
"""A Unix socket's address holds 104 (macOS) to 108 (Linux) bytes, the end mark included."""
MAX_LINE_BYTES: Final = 4096
MAX_ORDER_BYTES: Final = 256
"""Of a line that is an order: a verb and a name. JSON that is nested deeper than that ends its reader."""
ORDER_TIMEOUT_S: Final = 5.0
ANSWER_TIMEOUT_S: Final = 60.0
"""Ending a child takes its grace period, and the testnet waits for all."""


class Verb(enum.Enum):
    """What can be ordered."""

    PING = "ping"
    DOWN = "down"
    """End the whole testnet."""
    KILL = "kill"
    """End one process with SIGKILL, as a power cut would."""
    STOP = "stop"
    """End one process in order."""
    START = "start"
    """Start a process that has ended."""


@dataclass(frozen=True, slots=True)
class Order:
    """One order."""

    verb: Verb
    name: str = ""
    """The process it is about; empty for the testnet as a whole."""


class ControlError(Exception):
    """The order was not carried out; the message says why."""


class NotUp(ControlError):  # noqa: N818  -- a state, not a mistake
    """No testnet runs in the folder."""


def socket_path(folder: Path) -> Path:
    """Where the testnet of a folder takes orders.

    Raises:
        ControlError: The path is too long for a socket.
    """
    path = folder / SOCKET_NAME
    if len(os.fsencode(path)) > MAX_PATH_BYTES:
        raise ControlError(
            f"{folder} is too long a path for a control socket: choose a --dir of at most 85 bytes"
        )
    return path


def listen(folder: Path) -> trio.SocketListener:
    """Take orders in a folder where no testnet runs, over what a killed one has left behind.

    Raises:
        ControlError: A testnet runs there already, or the path is too long.
    """
    path = socket_path(folder)
    if answers(path):
        raise ControlError(
            f"a testnet runs in {folder} already: `headrace testnet down --dir {folder}` ends it"
        )
    path.unlink(missing_ok=True)
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    bound.bind(str(path))
    path.chmod(0o600)
    bound.listen()
    return trio.SocketListener(trio.socket.from_stdlib_socket(bound))


def answers(path: Path) -> bool:
    """Whether somebody listens on a Unix socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True


async def serve(listener: trio.SocketListener, carry_out: Callable[[Order], Awaitable[None]]) -> None:
    """Take orders until cancelled.

    Args:
        listener: From `listen`.
        carry_out: Does it, or raises ControlError.
    """

    async def handle(stream: trio.SocketStream) -> None:
        async with stream:
            try:
                with trio.fail_after(ORDER_TIMEOUT_S):
                    order = parse_order(await receive_line(stream))
                await carry_out(order)
                answer: dict[str, object] = {"ok": True}
            except ControlError as error:
                answer = {"error": str(error)}
            except (trio.TooSlowError, trio.BrokenResourceError):
                return
            try:
                await stream.send_all(json.dumps(answer).encode() + b"\n")
            except trio.BrokenResourceError:
                return  # whoever ordered has left; it is done all the same

    await trio.serve_listeners(handle, [listener])


def parse_order(line: bytes) -> Order:
    """Read an order.

    Raises:
        ControlError: It is none.
    """
    if len(line) > MAX_ORDER_BYTES:
        raise ControlError(f"an order has at most {MAX_ORDER_BYTES} bytes")
    try:
        document = json.loads(line)
        return Order(Verb(document["do"]), str(document.get("name", "")))
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ControlError(f"not an order: {line[:80]!r}") from None


async def receive_line(stream: trio.SocketStream) -> bytes:
    """Bytes up to a line's end.

    Raises:
        ControlError: The line is too long, or ends early.
    """
    line = b""
    while not line.endswith(b"\n"):
        if len(line) > MAX_LINE_BYTES:
            raise ControlError(f"an order has at most {MAX_LINE_BYTES} bytes")
        part = await stream.receive_some(MAX_LINE_BYTES)
        if not part:
            raise ControlError("the order ended early")
        line += part
    return line


def give_order(folder: Path, order: Order) -> None:
    """Give an order and wait until it is carried out.

    Raises:
        NotUp: No testnet runs in the folder.
        ControlError: It was refused.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(ANSWER_TIMEOUT_S)
        try:
            connection.connect(str(socket_path(folder)))
        except OSError:
            raise NotUp(f"no testnet runs in {folder}") from None
        try:
            connection.sendall(json.dumps({"do": order.verb.value, "name": order.name}).encode() + b"\n")
            with connection.makefile("rb") as stream:
                line = stream.readline(MAX_LINE_BYTES)
        except OSError as error:
            raise ControlError(f"the testnet in {folder} did not answer: {error}") from None
    answer = json.loads(line) if line else {"error": f"the testnet in {folder} ended before it answered"}
    if "error" in answer:
        raise ControlError(answer["error"])
