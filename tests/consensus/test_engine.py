"""The shell over the in-memory network, under virtual time, with real signatures."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import pytest
import trio
from trio.testing import MockClock

from chain.crypto import vrf
from chain.crypto.ed25519 import SecretKey, derive_seed
from consensus.engine import Engine
from consensus.inputs import EngineSettings
from consensus.signer import Signer
from consensus.signing_guard import create_log, open_log
from p2p.memory import Link, MemoryHub, open_hub
from p2p.network import Lane, Network, PeerId
from tests.consensus.fakes import CHAIN_ID, ChainTwin, MemoryJournal, SimDisk, committee_of, params

PARAMS = params(epoch_length=4, block_interval_ms=500, network_delay_ms=1000)
KEYS = [SecretKey(derive_seed(bytes(32), "consensus", index)) for index in range(4)]
WHOLE = committee_of(key.public_key for key in KEYS)


class Machine:
    """What of a node outlives its process, and how to run the process."""

    def __init__(self, number: int, *, is_validator: bool = True) -> None:
        self.name = PeerId(f"n{number}")
        self.key = KEYS[number] if is_validator else None
        self.disk, self.journal = SimDisk(), MemoryJournal()
        self.chain = ChainTwin(PARAMS, lambda _: WHOLE)
        self.engine: Engine | None = None
        self.scope = trio.CancelScope()

    @property
    def height(self) -> int:
        return self.chain.final_head.height

    def signer(self) -> Signer | None:
        if self.key is None:
            return None
        self.disk.locked = False
        opened = create_log if self.disk.data is None else open_log
        guard = opened(self.disk, chain_id=CHAIN_ID, public_key=self.key.public_key)
        return Signer(self.key, guard, chain_id=CHAIN_ID, prove=partial(vrf.prove, self.key))

    async def run(self, hub: MemoryHub) -> None:
        self.chain = self.chain.restarted()
        network: Network = hub.join(self.name)
        self.engine = engine = Engine(
            network=network, ledger=self.chain, journal=self.journal, signer=self.signer(),
            now_ms=lambda: int(trio.current_time() * 1000), settings=EngineSettings(poll_interval=2.0),
        )  # fmt: skip
        with trio.CancelScope() as self.scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(engine.run)
                nursery.start_soon(self.pump_events, network, engine)
                async for frame in network.inbound:
                    if frame.lane is Lane.CONSENSUS:
                        await engine.receive(frame)
        hub.leave(self.name)

    async def pump_events(self, network: Network, engine: Engine) -> None:
        async for event in network.events:
            await engine.peer_event(event)


@pytest.fixture
def autojump_clock() -> MockClock:
    return MockClock(autojump_threshold=0)


async def test_four_engines_finalize(autojump_clock: MockClock) -> None:
    machines = [Machine(number) for number in range(4)]
    async with open_hub(rng=random.Random(1), link=Link(delay=0.01, jitter=0.02)) as hub, trio.open_nursery() as n:
        for machine in machines:
            n.start_soon(machine.run, hub)
        await trio.sleep(30)
        heights = [machine.height for machine in machines]
        n.cancel_scope.cancel()
    assert min(heights) > 45, heights
    shared = min(heights)
    assert len({machine.chain.final[shared] for machine in machines}) == 1
