"""A node in a process of its own, for tests that kill it.

Usage: `python -m tests.p2p.process_node NUMBER PORT [BOOTSTRAP ...]`. Prints its address, and ends when its
input does.
"""

import sys

import trio

from tests.p2p.nodes import node


async def main(number: int, port: int, bootstrap: tuple[str, ...]) -> None:
    listen = (f"/ip4/127.0.0.1/tcp/{port}",)
    async with node(number, listen=listen, bootstrap=bootstrap) as network:
        print(network.listen_addrs[0], flush=True)
        await trio.to_thread.run_sync(sys.stdin.read, abandon_on_cancel=True)


if __name__ == "__main__":
    trio.run(main, int(sys.argv[1]), int(sys.argv[2]), tuple(sys.argv[3:]))
