"""A node's RPC on a real port, in a thread of its own, and a runner for command lines."""

import contextlib
import json
import threading
from dataclasses import dataclass, field

import pytest
import trio
from click.testing import CliRunner

from chain.address import encode_address
from chain.crypto.keystore import ENTROPY_BYTES, KdfStrength, KeyRole, write_key_file
from tests.tools.chain_node import PREFIX, ChainNode, chain_node
from tests.tools.keys import ALICE, BOB
from tools.cli.main import main
from tools.miner.run import Miner
from tools.rpc.server import RpcServer, bind

PASSWORD = b"canary-password-never-printed"


@dataclass(frozen=True)
class EagerServer(RpcServer):
    serving: "Serving | None" = None

    async def handle(self, request):
        answer = await super().handle(request)
        if self.serving.miner is not None:
            with trio.move_on_after(0.01):  # a miner that has nothing to do would rest for long
                await self.serving.miner._turn()
            self.node.produce()
        return answer


@dataclass
class Serving:
    node: ChainNode
    url: str = ""
    ready: threading.Event = field(default_factory=threading.Event)
    miner: Miner | None = None
    """Takes a turn with every request, and a block follows, so that whoever polls sees the chain move."""

    def run(self) -> None:
        trio.run(self._main)

    async def _main(self) -> None:
        self.token, self.scope = trio.lowlevel.current_trio_token(), trio.CancelScope()
        binding = await bind(port=0)
        self.url = binding.url
        self.ready.set()
        with self.scope:
            await EagerServer(self.node, serving=self).serve(binding)
        for listener in binding.listeners:
            await listener.aclose()

    def stop(self) -> None:
        with contextlib.suppress(trio.RunFinishedError):
            self.token.run_sync_soon(self.scope.cancel)


@pytest.fixture
def served():
    serving = Serving(chain_node())
    thread = threading.Thread(target=serving.run)
    thread.start()
    assert serving.ready.wait(5)
    yield serving
    serving.stop()
    thread.join(5)


@dataclass
class Result:
    code: int
    out: str
    err: str

    @property
    def document(self):
        assert self.code == 0, self.err
        return json.loads(self.out)

    @property
    def error(self):
        return json.loads(self.err)["error"]


@pytest.fixture
def headrace():
    def run(*arguments: object) -> Result:
        result = CliRunner().invoke(main, [str(argument) for argument in arguments])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Result(result.exit_code, result.stdout, result.stderr)

    return run


@pytest.fixture
def alice_key(tmp_path):
    """Alice's account key file and its password file."""
    return key_file(tmp_path, "alice", ALICE)


def key_file(folder, name, secret, role=KeyRole.ACCOUNT):
    path, password = folder / f"{name}.json", folder / f"{name}.password"
    write_key_file(
        path, secret, role=role, password=PASSWORD, kdf=KdfStrength.LIGHT, entropy=bytes(ENTROPY_BYTES)
    )
    password.touch(0o600)
    password.write_bytes(PASSWORD + b"\n")
    return path, password


@pytest.fixture
def bob_address():
    return encode_address(BOB.public_key, prefix=PREFIX)
