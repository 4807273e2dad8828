"""A node for tests of the tools: a real store over a real tree, and a mempool that obeys."""

from dataclasses import dataclass, field

from chain.database.memory import MemoryDatabase
from chain.reasons import Reason
from chain.state.tree import StateTree
from chain.store import BlockStore, FinalBlock
from chain.types.block import Block, Header, transactions_root
from chain.types.committee import Committee, Validator
from chain.types.params import ChainParams
from chain.types.receipt import BlockOutcome
from chain.types.transaction import SignedTransaction, possession_message
from genesis.document import Balance, GenesisDocument
from tests.tools.keys import ALICE, CONSENSUS
from tools.rpc.view import NodeStatus, PeerView

PREFIX = "hrt"
NOTHING = BlockOutcome((), (), ())
MODEL = bytes([7]) * 32

PARAMS = ChainParams(
    chain_id="fake", address_prefix=PREFIX, epoch_length=10, committee_size=16, averaging_window=4,
    genesis_epochs=1, block_interval_ms=500, network_delay_ms=500, max_block_bytes=1 << 20,
    max_transaction_bytes=1 << 18, base_fee_floor=1, target_block_weight=1 << 19, cell_weight=100,
    min_bond=1000, unbonding_blocks=20, missed_proof_penalty=10, commons_batch=4, max_commons_units=16,
    max_open_commits=2, reward_per_million_units=1000, samples=8, beacon_delay=2, proof_window=10,
    task_deadline=10, max_task_attempts=3, max_task_rows=8, price_per_million_units=1000,
)  # fmt: skip

COMMITTEE = Committee((Validator(CONSENSUS.public_key, ALICE.public_key, 16),))
GENESIS = GenesisDocument(
    params=PARAMS, timestamp_ms=1_000, balances=(Balance(ALICE.public_key, 5_000_000),), committee=COMMITTEE,
    models=(MODEL,), commons_model=MODEL,
)  # fmt: skip


@dataclass
class FakeMempool:
    waiting: dict[bytes, SignedTransaction] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.waiting)

    def get(self, transaction: bytes) -> SignedTransaction | None:
        return self.waiting.get(transaction)

    def next_nonce(self, sender: bytes, state_nonce: int) -> int:
        mine = [s.transaction.nonce for s in self.waiting.values() if s.transaction.sender == sender]
        return max([state_nonce, *(nonce + 1 for nonce in mine)])


@dataclass
class FakeNode:
    store: BlockStore
    genesis: GenesisDocument = GENESIS
    mempool: FakeMempool = field(default_factory=FakeMempool)
    verdict: Reason = Reason.OK
    lag_ms: int = 250
    syncing: str = ""
    connected: tuple[PeerView, ...] = ()
    consensus_key: bytes | None = CONSENSUS.public_key

    @property
    def head(self) -> Header:
        return self.store.head

    @property
    def state(self) -> StateTree:
        return self.store.state

    def status(self) -> NodeStatus:
        epoch = PARAMS.epoch_of(self.head.height + 1)
        return NodeStatus(view=3, epoch=epoch, lag_ms=self.lag_ms, syncing=self.syncing, committee=COMMITTEE)

    def peers(self) -> tuple[PeerView, ...]:
        return self.connected

    def possession(self, miner: bytes) -> bytes | None:
        if self.consensus_key is None:
            return None
        return CONSENSUS.sign(possession_message(PARAMS.chain_id, miner))

    async def submit(self, signed: SignedTransaction) -> Reason:
        if self.verdict is Reason.OK:
            self.mempool.waiting[signed.id] = signed
        return self.verdict


def header(parent: Header | None, state: StateTree, outcome: BlockOutcome, transactions=()) -> Header:
    height = 0 if parent is None else parent.height + 1
    return Header(
        version=1, chain_id="fake", height=height, epoch=0 if height == 0 else PARAMS.epoch_of(height),
        view=height, parent=GENESIS.digest if parent is None else parent.digest,
        timestamp_ms=1_000 + 500 * height,
        proposer=CONSENSUS.public_key, vrf_proof=bytes(80), beacon=bytes([height % 251]) * 32, base_fee=2,
        transactions_root=transactions_root(transactions), receipts_root=outcome.root, state_root=state.root,
        next_committee_root=COMMITTEE.root,
    )  # fmt: skip


def fake_node(entries: dict[bytes, bytes] | None = None) -> FakeNode:
    """A node at height 0 whose state holds some entries."""
    state = StateTree.empty().updated(dict(entries or {}))
    block = Block(header(None, state, NOTHING), ())
    store = BlockStore.create(MemoryDatabase(), genesis=GENESIS.digest, block=block, state=state, committee=COMMITTEE)
    return FakeNode(store)


def extend(node, *, transactions=(), outcome=NOTHING, changes=None, certificate=None) -> Block:
    """Make one more block final."""
    state = node.store.state.updated(changes or {})
    block = Block(header(node.store.head, state, outcome, transactions), tuple(transactions))
    node.store.append([FinalBlock(block, outcome, changes or {}, certificate)], state)
    return block
