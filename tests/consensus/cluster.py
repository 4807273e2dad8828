"""Engines over the in-memory network, with real signatures, for tests of the shell under virtual time."""

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import trio

from chain.crypto import vrf
from chain.crypto.ed25519 import SecretKey, derive_seed
from consensus.engine import Engine
from consensus.halting import Halted
from consensus.inputs import EngineSettings
from consensus.signing.signer import Signer
from consensus.signing.signing_guard import create_log, open_log
from p2p.memory import Link, MemoryHub, open_hub
from p2p.memory_node import MemoryNetwork
from p2p.network import Lane, PeerId
from tests.consensus.fakes import CHAIN_ID, ChainTwin, MemoryJournal, SimDisk, committee_of, params

PARAMS = params(epoch_length=4, block_interval_ms=500, network_delay_ms=1000)
KEYS = [SecretKey(derive_seed(bytes(32), "consensus", index)) for index in range(4)]
COMMITTEE = committee_of(key.public_key for key in KEYS)


def clock_ms() -> int:
    return int(trio.current_time() * 1000)


class Machine:
    """What of a node outlives its process; `run` is the process."""

    def __init__(self, hub: MemoryHub, name: str, key: SecretKey | None) -> None:
        self.hub, self.name, self.key = hub, PeerId(name), key
        self.disk, self.journal = SimDisk(), MemoryJournal()
        self.chain = ChainTwin(PARAMS, lambda _: COMMITTEE)
        self.clock_ahead_ms = 0
        self.halted: Halted | None = None
        self._scope = trio.CancelScope()
        self._gone = trio.Event()

    @property
    def height(self) -> int:
        return self.chain.final_head.height

    async def run(self) -> None:
        self._gone = trio.Event()
        self.chain = self.chain.restarted()
        self.network = self.hub.join(self.name)
        self.engine = Engine(
            network=self.network, ledger=self.chain, journal=self.journal, signer=self._signer(),
            now_ms=lambda: clock_ms() + self.clock_ahead_ms, settings=EngineSettings(poll_interval=2.0),
        )  # fmt: skip
        with trio.CancelScope() as self._scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._run_engine)
                nursery.start_soon(self._events)
                async for frame in self.network.inbound:
                    if frame.lane is Lane.CONSENSUS:
                        await self.engine.receive(frame)
        self.hub.leave(self.name)
        self._gone.set()

    async def kill(self) -> None:
        self._scope.cancel()
        await self._gone.wait()

    def make_log_elsewhere(self) -> None:
        """The log of a key that signed on another machine, without what it signed there."""
        assert self.key is not None
        create_log(self.disk, chain_id=CHAIN_ID, public_key=self.key.public_key, signs_here=False).close()

    def _signer(self) -> Signer | None:
        if self.key is None:
            return None
        self.disk.locked = False
        opened = create_log if self.disk.data is None else open_log
        guard = opened(self.disk, chain_id=CHAIN_ID, public_key=self.key.public_key)
        return Signer(self.key, guard, chain_id=CHAIN_ID, prove=partial(vrf.prove, self.key))

    async def _run_engine(self) -> None:
        try:
            await self.engine.run()
        except Halted as halted:
            self.halted = halted
            self._scope.cancel()

    async def _events(self) -> None:
        async for event in self.network.events:
            await self.engine.peer_event(event)


class Cluster:
    """Machines on one hub."""

    def __init__(self, hub: MemoryHub, nursery: trio.Nursery) -> None:
        self.hub, self.nursery = hub, nursery
        self.machines = [Machine(hub, f"v{i}", key) for i, key in enumerate(KEYS)]

    def start(self, *machines: Machine) -> None:
        for machine in machines or self.machines:
            self.nursery.start_soon(machine.run)

    def observer(self, name: str = "full") -> Machine:
        machine = Machine(self.hub, name, None)
        self.machines.append(machine)
        return machine

    def stranger(self, name: str = "mallory") -> MemoryNetwork:
        """A peer whose every byte the test writes."""
        return self.hub.join(PeerId(name))

    def heights(self) -> list[int]:
        return [machine.height for machine in self.machines]

    def agree(self) -> bool:
        shared = min(self.heights())
        return len({machine.chain.final[shared] for machine in self.machines}) == 1


@asynccontextmanager
async def open_cluster(*, seed: int = 1, link: Link | None = None) -> AsyncIterator[Cluster]:
    link = link or Link(delay=0.01, jitter=0.02)
    async with open_hub(rng=random.Random(seed), link=link) as hub, trio.open_nursery() as nursery:
        yield Cluster(hub, nursery)
        nursery.cancel_scope.cancel()
