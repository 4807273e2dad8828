"""Ports on loopback that nobody listens on."""

import contextlib
import socket

from tools.testnet.plan import PlanError, TestnetOptions, port_count


def choose_ports(options: TestnetOptions) -> list[int]:
    """Ports for a testnet: the ones asked for if they are free, else any free ones.

    A free port can be taken by somebody else before its node listens on it; the node then says so and the
    start fails. All are held until the last is known, so that they differ.

    Raises:
        PlanError: A port asked for is in use.
    """
    count, base = port_count(options), options.base_port
    wanted = [0] * count if base is None else [base + offset for offset in range(count)]
    with contextlib.ExitStack() as held:
        return [hold_port(held, port) for port in wanted]


def hold_port(held: contextlib.ExitStack, port: int) -> int:
    """Bind a port (0: any free one) until the stack unwinds.

    Raises:
        PlanError: It is in use.
    """
    bound = held.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
    # A port whose last connection has just ended can be listened on again, and a node will.
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind(("127.0.0.1", port))
    except OSError as error:
        raise PlanError(
            f"port {port} cannot be used ({error.strerror}): choose another --base-port, or leave it out"
        ) from None
    chosen: int = bound.getsockname()[1]
    return chosen
