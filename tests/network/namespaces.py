"""Network namespaces with one TUN device each: machines of their own, as far as IP can tell.

The kernel's own emulator (`tc netem`) is not in every kernel, so the wires between the namespaces are a
program of ours (`switch.py`), which reads what one device sends and writes it to another.
"""

import ctypes
import fcntl
import os
import shutil
import struct
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

_T = TypeVar("_T")

CLONE_NEWNET: Final = 0x4000_0000
TUNSETIFF: Final = 0x4004_54CA
IFF_TUN: Final = 0x0001
IFF_NO_PI: Final = 0x1000
DEVICE: Final = "wire"
MTU: Final = 1400

_libc = ctypes.CDLL(None, use_errno=True)


def unavailable() -> str | None:
    """Why there can be no namespaces here, if so."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    if shutil.which("ip") is None or shutil.which("nsenter") is None:
        return "needs ip (iproute2) and nsenter (util-linux)"
    if not os.path.exists("/dev/net/tun"):  # noqa: PTH110 - a device, not a path of ours
        return "needs /dev/net/tun"
    made = subprocess.run(
        ["ip", "netns", "add", name_of("probe")], capture_output=True, text=True, check=False
    )
    if made.returncode != 0:
        return f"namespaces are not allowed here: {made.stderr.strip()}"
    remove("probe")
    return None


def name_of(node: str) -> str:
    """A namespace's name, of this process alone."""
    return f"headrace-{os.getpid()}-{node}"


def path_of(node: str) -> str:
    """Where the kernel keeps the namespace."""
    return f"/run/netns/{name_of(node)}"


def address_of(index: int) -> str:
    """IPv4 address of the node with a number from 0."""
    return f"10.98.0.{index + 1}"


def add(node: str) -> None:
    """Make a namespace."""
    subprocess.run(["ip", "netns", "add", name_of(node)], check=True)


def remove(node: str) -> None:
    """Remove a namespace; what still runs in it goes on without wires."""
    subprocess.run(["ip", "netns", "delete", name_of(node)], capture_output=True, check=False)


def enter(path: str) -> None:
    """Move the calling thread into a namespace.

    Raises:
        OSError: The kernel refuses.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        if _libc.setns(descriptor, CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), f"cannot enter {path}")
    finally:
        os.close(descriptor)


def open_wire(path: str, address: str) -> int:
    """Enter a namespace, make its device, and return the descriptor of what it sends and receives.

    The calling thread stays there.
    """
    enter(path)
    wire = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(wire, TUNSETIFF, struct.pack("16sH", DEVICE.encode(), IFF_TUN | IFF_NO_PI))
    for command in (
        ["addr", "add", f"{address}/24", "dev", DEVICE],
        ["link", "set", DEVICE, "up", "mtu", str(MTU)],
        ["link", "set", "lo", "up"],
    ):
        subprocess.run(["ip", *command], check=True)
    return wire


class Inside:
    """A thread that lives in a namespace and makes blocking calls there."""

    def __init__(self, node: str) -> None:
        self._path = path_of(node)
        self._pool = ThreadPoolExecutor(1, initializer=enter, initargs=(self._path,))

    @property
    def command(self) -> tuple[str, ...]:
        """What to put before a command, by absolute path, that is to run in the namespace."""
        return ("/usr/bin/env", "nsenter", f"--net={self._path}")

    def call(self, function: Callable[[], _T]) -> _T:
        """Run a function in the namespace."""
        return self._pool.submit(function).result()

    def close(self) -> None:
        """End the thread."""
        self._pool.shutdown()
