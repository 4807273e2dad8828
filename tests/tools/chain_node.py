"""A node for tests of the tools: the real ledger, store and mempool, with one validator and no network.

`produce` makes the next block final at once, as consensus would a second later.
"""

from dataclasses import dataclass, field, replace

from chain.codec import decode, encode
from chain.crypto import vrf
from chain.database.memory import MemoryDatabase
from chain.execution import queries
from chain.execution.block import draft_block
from chain.execution.genesis import open_genesis_state
from chain.execution.header import context_for, genesis_header, make_header
from chain.execution.models import ModelRegistry
from chain.mempool import Mempool
from chain.reasons import Reason
from chain.state.tree import StateTree
from chain.store import BlockStore, FinalBlock
from chain.types.block import Block, Header, beacon_input
from chain.types.committee import Committee, Validator
from chain.types.params import MAX_BLOCK_OVERHEAD, ChainParams
from chain.types.statement import Kind, Statement
from chain.types.transaction import SignedTransaction, possession_message
from consensus.messages import Certificate, Seal
from consensus.sync.light import ChainProof, make_chain_proof
from consensus.sync.serving import paced
from genesis.commons import commons
from genesis.document import Balance, GenesisDocument
from genesis.presets import LOCAL_PARAMS
from genesis.registry import digits_model, registry_of
from tests.tools.keys import ALICE, CONSENSUS, MINER
from tools.rpc.view import NodeStatus, PeerView

PREFIX = "hrt"
PARAMS = replace(
    LOCAL_PARAMS, chain_id="tools-test", address_prefix=PREFIX, epoch_length=10, committee_size=16,
    commons_batch=4, round_length=5, beacon_delay=2, proof_window=6, task_deadline=4, samples=32,
    cell_weight=25, max_open_commits=8, max_commons_units=20, reward_per_million_units=1_000_000,
    min_bond=350_000_000,
)  # fmt: skip
COMMITTEE = Committee((Validator(CONSENSUS.public_key, ALICE.public_key, 16),))
FUNDS = 1_000_000_000


@dataclass(frozen=True)
class StoredChain:
    """What a chain proof is made from."""

    store: BlockStore
    params: ChainParams

    @property
    def final_head(self) -> Header:
        return self.store.head

    def committee(self, epoch: int) -> Committee:
        return self.store.committee(epoch)

    def final_header(self, height: int) -> Header | None:
        return self.store.header(height)

    def finalization(self, height: int) -> Certificate | None:
        found = self.store.next_finalization(height)
        return None if found is None else decode(Certificate, found[1], limit=1 << 20)


@dataclass
class ChainNode:
    genesis: GenesisDocument
    models: ModelRegistry
    store: BlockStore
    mempool: Mempool
    verdict: Reason | None = None
    """What every transaction is refused with; None asks the mempool."""
    lag_ms: int = 250
    syncing: str = ""
    connected: tuple[PeerView, ...] = ()
    consensus_key: bytes | None = CONSENSUS.public_key
    sent: list[SignedTransaction] = field(default_factory=list)
    """Everything that was handed in, taken or not."""
    reports: list[SignedTransaction] = field(default_factory=list)
    """Evidence for the next block, which comes first in it."""

    @property
    def head(self) -> Header:
        return self.store.head

    @property
    def state(self) -> StateTree:
        return self.store.state

    def status(self) -> NodeStatus:
        epoch = self.genesis.params.epoch_of(self.head.height + 1)
        committee = queries.committee(self.state, epoch)
        assert committee is not None
        return NodeStatus(view=1, epoch=epoch, lag_ms=self.lag_ms, syncing=self.syncing, committee=committee)

    def peers(self) -> tuple[PeerView, ...]:
        return self.connected

    def possession(self, miner: bytes) -> bytes | None:
        if self.consensus_key is None:
            return None
        return CONSENSUS.sign(possession_message(self.genesis.params.chain_id, miner))

    async def chain_proof(self, height: int) -> ChainProof | None:
        return await paced(make_chain_proof(StoredChain(self.store, self.genesis.params), height))

    async def submit(self, signed: SignedTransaction) -> Reason:
        self.sent.append(signed)
        return self.mempool.add(signed, self.state) if self.verdict is None else self.verdict

    def produce(self, blocks: int = 1) -> None:
        """Make blocks of what waits, and make them final."""
        for _ in range(blocks):
            self._produce()
            self.mempool.revalidate(self.state)

    def _produce(self) -> None:
        params, parent, view = self.genesis.params, self.head, self.head.height + 1
        proof = vrf.prove(CONSENSUS, beacon_input(params.chain_id, parent.beacon, view))
        context = context_for(
            parent, params=params, timestamp_ms=parent.timestamp_ms + 500, proposer=CONSENSUS.public_key,
            vrf_proof=proof, base_fee=queries.head(self.state).next_base_fee,
        )  # fmt: skip
        room = params.max_block_bytes - MAX_BLOCK_OVERHEAD
        waiting = (*self.reports, *self.mempool.select(self.state, max_bytes=room))
        self.reports.clear()
        draft = draft_block(self.state, context, waiting, params=params, models=self.models)
        header = make_header(parent, context, draft.execution, draft.transactions, view=view, vrf_proof=proof)
        block = Block(header, draft.transactions)
        closes = header.height == params.last_height(header.epoch)
        statement = Statement(Kind.FINALIZE, header.epoch, view, header.digest)
        seal = Seal(0, CONSENSUS.sign(statement.signing_bytes(params.chain_id)))
        certificate = Certificate(Kind.FINALIZE, header.epoch, view, header.digest, (seal,))
        final = FinalBlock(
            block, draft.execution.outcome, draft.execution.changes, encode(certificate),
            draft.execution.next_committee if closes else None,
        )  # fmt: skip
        self.store.append([final], draft.execution.state)


def chain_node(**params: int) -> ChainNode:
    """A node at height 0 on which Alice and the miner have coins."""
    learner = commons(PARAMS.commons_batch)
    balances = sorted(
        [Balance(ALICE.public_key, FUNDS), Balance(MINER.public_key, FUNDS)], key=lambda b: b.account
    )
    genesis = GenesisDocument(
        params=replace(PARAMS, **params), timestamp_ms=1_000, balances=tuple(balances), committee=COMMITTEE,
        models=tuple(sorted((digits_model().id, learner.id))), commons_model=learner.id,
    )  # fmt: skip
    state = open_genesis_state(
        params=genesis.params, balances={balance.account: balance.amount for balance in balances},
        committee=COMMITTEE, beacon=genesis.digest, commons=learner,
    )  # fmt: skip
    header = genesis_header(
        chain_id=genesis.params.chain_id, timestamp_ms=genesis.timestamp_ms, beacon=genesis.digest,
        base_fee=genesis.params.base_fee_floor, state_root=state.root, committee=COMMITTEE,
    )  # fmt: skip
    store = BlockStore.create(
        MemoryDatabase(), genesis=genesis.digest, block=Block(header, ()), state=state, committee=COMMITTEE
    )
    return ChainNode(genesis, registry_of(genesis), store, Mempool(genesis.params))
