"""A js-libp2p client connects, identifies, pings and hears announcements: we speak what others speak."""

import base64
import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from p2p.announcer import MESHSUB, announcement_topic
from p2p.libp2p_network import Libp2pNetwork
from tests.p2p.nodes import TAG, is_alive, node, peers_are, until

HERE = Path(__file__).parent / "js"
INSTALL_SECONDS = 120
PATIENCE = 20.0


@pytest.fixture(scope="module")
def client() -> Path:
    """The client with its packages, installed once per version of them into the user's cache."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("Node or npm is not installed")
    sources = sorted(HERE.glob("*.*"))
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "headrace"
    folder = cache / f"js-{digest}"
    if not folder.is_dir():
        draft = cache / f"js-{digest}.{os.getpid()}.draft"
        try:
            install(draft)
            draft.rename(folder)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    return folder / "peer.mjs"


def install(folder: Path) -> None:
    """Put the client and its packages into `folder`, or skip the tests that need them."""
    shutil.copytree(HERE, folder)
    command = ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"]
    try:
        result = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=INSTALL_SECONDS)
    except subprocess.TimeoutExpired:
        pytest.skip(f"npm ci took more than {INSTALL_SECONDS} s")
    if result.returncode != 0:
        pytest.skip(f"npm ci failed: {result.stderr.strip()[-300:]}")


class Client:
    """A running client: its events, one line of JSON each."""

    def __init__(self, process: trio.Process) -> None:
        self._process = process
        self._unread = b""

    async def event(self, name: str) -> dict[str, Any]:
        """The next event called `name`."""
        assert self._process.stdout is not None
        with trio.fail_after(PATIENCE):
            while True:
                line, newline, rest = self._unread.partition(b"\n")
                if newline:
                    self._unread = rest
                    event: dict[str, Any] = json.loads(line)
                    if event["event"] == name:
                        return event
                    continue
                chunk = await self._process.stdout.receive_some()
                assert chunk, f"client ended with {self._process.returncode} before {name!r}"
                self._unread += chunk


@asynccontextmanager
async def listening(client: Path, network: Libp2pNetwork) -> AsyncIterator[Client]:
    command = ["node", str(client), network.listen_addrs[0], announcement_topic(TAG)]
    async with trio.open_nursery() as nursery:
        run = partial(trio.run_process, stdin=subprocess.PIPE, stdout=subprocess.PIPE, check=False)
        process = await nursery.start(run, command)
        yield Client(process)
        nursery.cancel_scope.cancel()


async def test_a_js_client_identifies_pings_and_listens(client: Path) -> None:
    async with node(1) as network, node(2, network) as friend, listening(client, network) as js:
        connected = await js.event("connect")
        assert connected["peer"] == network.local_id
        assert (connected["encryption"], connected["muxer"]) == ("/noise", "/yamux/1.0.0")
        assert (await js.event("ping"))["milliseconds"] < 5000
        await until(lambda: network.stats().listeners == 1)
        await peers_are(network, friend)

        headers = [b"block 1", bytes(range(256)) * 128, b""]
        for header in headers:
            network.announce(header)
        for header in headers:
            message = await js.event("message")
            assert base64.b64decode(message["data"]) == header
            assert (message["from"], message["topic"]) == (network.local_id, announcement_topic(TAG))
        assert network.stats().announcements == len(headers)
        assert await is_alive(network, friend)


async def test_a_js_client_learns_who_we_are_and_leaves_no_trace(client: Path) -> None:
    async with node(1) as network:
        async with listening(client, network) as js:
            identity = await js.event("identify")
            assert identity["peer"] == network.local_id
            assert MESHSUB in identity["protocols"]
            assert "/headrace/control/1" in identity["protocols"]
            assert [f"{address}/p2p/{network.local_id}" for address in identity["addresses"]] == list(
                network.listen_addrs
            )
            await until(lambda: network.stats().listeners == 1)
        await until(lambda: network.stats().listeners == 0)
        await until(lambda: network._host._swarm.get_connections() == [])
