"""The ledger of the profile "ledger": the node's own, with store and mempool, on a simulated disk."""

from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from chain.execution.genesis import open_genesis_state
from chain.execution.header import genesis_header
from chain.execution.models import ModelRegistry
from chain.hashing import digest
from chain.mempool import Mempool
from chain.reasons import Reason
from chain.state.tree import StateTree
from chain.store import BlockStore
from chain.types.block import Block, Header
from chain.types.committee import Committee
from chain.types.params import ChainParams
from chain.types.transaction import ReportEquivocation, SignedTransaction
from consensus.ledger import BuildRequest
from consensus.messages import Certificate
from tests.simulation.disks import SimDatabase
from tools.node.journal import StoreJournal
from tools.node.ledger import NodeLedger

GENESIS = digest("simulation/genesis")
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Beginning:
    """Height 0 of one world."""

    params: ChainParams
    models: ModelRegistry
    committee: Committee
    state: StateTree
    header: Header


def begin(
    params: ChainParams,
    *,
    models: ModelRegistry,
    committee: Committee,
    balances: Mapping[bytes, int],
    seed: int,
) -> Beginning:
    """Height 0; the seed is in the first beacon, so no two worlds draw the same."""
    beacon = digest("simulation/beacon", seed.to_bytes(8, "big"))
    state = open_genesis_state(
        params=params, balances=balances, committee=committee, beacon=beacon, commons=models.commons
    )
    header = genesis_header(
        chain_id=params.chain_id, timestamp_ms=0, beacon=beacon, base_fee=params.base_fee_floor,
        state_root=state.root, committee=committee,
    )  # fmt: skip
    return Beginning(params, models, committee, state, header)


def at_once(steps: Coroutine[Any, Any, _T]) -> _T:
    """Run something that waits for nothing but checkpoints, which are none in a simulation."""
    try:
        steps.send(None)
    except StopIteration as end:
        result: _T = end.value
        return result
    raise AssertionError("it waits for something")


class RealLedger:
    """What `NodeLedger` does, without an event loop."""

    def __init__(self, beginning: Beginning) -> None:
        self._beginning = beginning
        self.params = beginning.params
        self.database = SimDatabase()
        BlockStore.create(
            self.database, genesis=GENESIS, block=Block(beginning.header, ()), state=beginning.state,
            committee=beginning.committee,
        )  # fmt: skip
        self.restart()

    @property
    def databases(self) -> tuple[SimDatabase, ...]:
        return (self.database,)

    @property
    def final_head(self) -> Header:
        return self.node.final_head

    @property
    def state(self) -> StateTree:
        """After the last final block."""
        return self.store.state

    def restart(self) -> None:
        """Forget what the process knew beyond the disk."""
        store = BlockStore.open(self.database, genesis=GENESIS)
        assert store is not None
        self.store, self.mempool = store, Mempool(self.params)
        self.journal = StoreJournal(store)
        self.node = NodeLedger(
            store=store, mempool=self.mempool, params=self.params, models=self._beginning.models
        )
        self._digests = {store.head.height: store.head.digest}

    def committee(self, epoch: int) -> Committee:
        return self.node.committee(epoch)

    def block(self, name: bytes) -> Block | None:
        return self.node.block(name)

    def height_of(self, name: bytes) -> int | None:
        return self.node.height_of(name)

    def final_header(self, height: int) -> Header | None:
        return self.node.final_header(height)

    @property
    def first_block(self) -> int:
        return self.node.first_block

    def encoded_block(self, height: int) -> bytes | None:
        return self.node.encoded_block(height)

    def final_block(self, height: int) -> Block | None:
        return self.node.final_block(height)

    def finalization(self, height: int) -> Certificate | None:
        return self.node.finalization(height)

    def digest_at(self, height: int) -> bytes:
        if height not in self._digests:
            block = self.store.block(height)
            assert block is not None
            self._digests[height] = block.digest
        return self._digests[height]

    def check(self, block: Block, _digest: bytes) -> None:
        at_once(self.node.validate(block))

    def make(self, request: BuildRequest) -> Block:
        return at_once(self.node.build(request))

    def make_of(
        self, request: BuildRequest, choose: Callable[[list[SignedTransaction]], Iterable[SignedTransaction]]
    ) -> Block:
        """Make a block of other candidates than the mempool would offer."""
        honest = self.mempool.select
        self.mempool.select = lambda state, *, max_bytes: list(choose(honest(state, max_bytes=max_bytes)))
        try:
            return self.make(request)
        finally:
            self.mempool.select = honest

    def settle(self, blocks: Sequence[Block], certificate: Certificate) -> None:
        at_once(self.node.finalize(blocks, certificate))
        self._digests.update((block.header.height, block.digest) for block in blocks)
        senders = {signed.transaction.sender: None for block in blocks for signed in block.transactions}
        if senders:
            self.mempool.revalidate(self.state, senders)
        self.node.reports.revalidate(self.state)

    def take_transaction(self, signed: SignedTransaction) -> Reason:
        body = signed.transaction.body
        if isinstance(body, ReportEquivocation):
            return self.node.reports.add(signed, body, self.state)
        return self.mempool.add(signed, self.state)

    def reports(self) -> list[SignedTransaction]:
        """Evidence that waits to be in a block."""
        return list(self.node.reports.waiting)
