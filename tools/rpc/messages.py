"""What the RPC answers with: one frozen type a result, read and written by `tools.rpc.wire` on both sides."""

from dataclasses import dataclass
from typing import Annotated

from chain.codec import U8, U16, U32, U64, U128, AtMost, Exactly, Hash32, PublicKey
from chain.execution.records import MinerStatus, TaskStatus
from chain.reasons import Reason
from tools.rpc.wire import Address, Signed

Subject = Annotated[bytes, AtMost(32)]
Encoded = Annotated[bytes, AtMost(1 << 23)]
SignatureHex = Annotated[bytes, Exactly(64)]
Milliseconds = Annotated[int, Signed()]


@dataclass(frozen=True, slots=True)
class Status:
    """How the node and its chain stand."""

    version: str
    chain_id: str
    genesis: Hash32
    height: U64
    block: Hash32
    state_root: Hash32
    timestamp_ms: U64
    lag_ms: Milliseconds
    """Since the last final block's timestamp, by the node's clock."""
    epoch: U64
    epoch_last_height: U64
    view: U64
    base_fee: U64
    mempool: U32
    peers: U16
    validators: U16
    seats: U32
    consensus_key: PublicKey | None
    """The key this node votes with; null if it only verifies."""
    own_seats: U16
    syncing: str
    """Why the node does not follow the chain yet, what it waits for and from whom; empty when it does."""
    first_block: U64 = 1
    """Least height from 1 on whose block is here; later on a node that began with a state, or prunes."""
    disk: str = ""
    """What is wrong with the node's disk, low or slow, with figures; empty when nothing is."""


@dataclass(frozen=True, slots=True)
class EventView:
    """One line of the ledger's own record."""

    height: U64
    reason: Reason
    explanation: str
    subject: Subject
    subject_kind: str
    """account, miner, consensus key, transaction, task, commit or model; empty where there is none."""
    other: Subject
    other_kind: str
    amount: U64
    amount_kind: str
    """coins, units, height, seats, attempts, epoch, steps or shards; empty where the amount says nothing."""
    detail: str


@dataclass(frozen=True, slots=True)
class TransactionView:
    """A transaction, final or waiting."""

    id: Hash32
    final: bool
    height: U64 | None
    index: U16 | None
    reason: Reason | None
    """Outcome once it is final."""
    explanation: str
    weight: U64
    fee: U64
    sender: Address
    nonce: U64
    max_base_fee: U64
    tip: U64
    kind: str
    summary: str
    encoded: Encoded
    """The signed transaction in its canonical form."""


@dataclass(frozen=True, slots=True)
class TransactionLine:
    """A transaction in a block's list."""

    id: Hash32
    sender: Address
    kind: str
    reason: Reason
    fee: U64


@dataclass(frozen=True, slots=True)
class BlockView:
    """A final block."""

    height: U64
    digest: Hash32
    parent: Hash32
    epoch: U64
    view: U64
    timestamp_ms: U64
    proposer: PublicKey
    beacon: Hash32
    base_fee: U64
    state_root: Hash32
    transactions: tuple[TransactionLine, ...]
    events: tuple[EventView, ...]
    """Everything that happened in the block, in order."""
    certified: bool
    """Whether a finalization names this very block; others are final as its ancestors."""


@dataclass(frozen=True, slots=True)
class Sent:
    """A transaction that the mempool took."""

    id: Hash32


@dataclass(frozen=True, slots=True)
class AccountView:
    """One account in the last final state."""

    address: Address
    public_key: PublicKey
    height: U64
    balance: U64
    nonce: U64
    next_nonce: U64
    """First nonce that no waiting transaction uses."""


@dataclass(frozen=True, slots=True)
class SeatView:
    """One validator of the committee that votes on the next height."""

    consensus_key: PublicKey
    payout: Address
    seats: U16


@dataclass(frozen=True, slots=True)
class CommitteeView:
    """Who votes on the next height."""

    epoch: U64
    seats: U32
    quorum: U32
    """Fewest seats that decide."""
    from_genesis: bool
    """Whether the seats are still those of the genesis document."""
    largest_permille: U16
    """Share of the largest holder, in thousandths of all seats."""
    to_halt: U16
    """Fewest holders who together can stop the chain (more than a third of the seats)."""
    validators: tuple[SeatView, ...]


@dataclass(frozen=True, slots=True)
class PeerLine:
    """One connected peer."""

    peer: str
    address: str
    inbound: bool
    connected_ms: Milliseconds
    bytes_in: U64
    bytes_out: U64
    score: Milliseconds
    complaint: str
    dropped_consensus: U64
    """Frames on the consensus lane that found the queue to this peer full."""
    dropped_transactions: U64
    """The same on the lane of transactions."""


@dataclass(frozen=True, slots=True)
class MempoolLine:
    """What waits."""

    transactions: U32


@dataclass(frozen=True, slots=True)
class Story:
    """Everything the ledger says about one name, oldest first."""

    subject: Subject
    kind: str
    """task, commit, evidence, transaction, miner, account, consensus key or unknown."""
    summary: str
    """How it stands now, in one sentence."""
    events: tuple[EventView, ...]


@dataclass(frozen=True, slots=True)
class Possession:
    """A consensus key's word that it belongs to a miner."""

    consensus_key: PublicKey
    possession: SignatureHex


@dataclass(frozen=True, slots=True)
class ModelView:
    """A model that tasks may ask."""

    id: Hash32
    name: str
    input_width: U32
    """Values in one input row."""
    input_bytes: U8
    """Bytes of one value, little-endian, signed."""
    input_low: Milliseconds
    input_high: Milliseconds
    answer_width: U32
    answer_bytes: U8
    units_per_row: U64
    commons: bool
    """Whether it is the one that miners train when nobody pays."""


@dataclass(frozen=True, slots=True)
class Quote:
    """What a task costs now."""

    model: Hash32
    rows: U16
    units: U64
    price: U64
    """Least payment to the miner."""
    fee: U64
    """About what the transaction burns, at the base fee in force."""
    base_fee: U64
    miners: U32
    """Active miners that serve the model."""


@dataclass(frozen=True, slots=True)
class TaskView:
    """A task, as far as it got."""

    id: Hash32
    submitter: Address
    model: Hash32
    rows: U16
    inputs: Encoded
    units: U64
    payment: U64
    status: TaskStatus
    submitted_at: U64
    since: U64
    """Height of the last change of status."""
    attempts: U8
    miner: Address | None
    missed: tuple[Address, ...]
    commit: Hash32 | None
    step: U64
    """Steps that the commons model had taken when it answered; 0 for other models."""
    answer: Encoded | None
    """The last op's output; proven if `status` is ANSWERED, claimed before."""


@dataclass(frozen=True, slots=True)
class MinerView:
    """A registered miner."""

    address: Address
    consensus_key: PublicKey
    status: MinerStatus
    bond: U64
    at_stake: U64
    """Of the bond, by open commits; the rest is free."""
    unbonds_at: U64
    open_commits: U8
    models: tuple[Hash32, ...]
    units: U128
    """Proven in the averaging window and the current epoch."""
    seats: U16
    """In the committee that votes now."""


@dataclass(frozen=True, slots=True)
class ConvictionView:
    """A consensus key that signed two statements which exclude each other."""

    consensus_key: PublicKey
    miner: Address | None
    """Whom the key belonged to; none for a genesis validator that never registered."""
    height: U64
    """Of the block that convicted it."""
    epoch: U64
    view: U64
    first: str
    second: str
    """The statements: a kind, and the block it names."""
    report: Hash32
    """The transaction with both statements and both signatures."""
    burned: U64
    """Coins of the miner's bond."""
    seats: U16
    """That it still holds, to the end of the epoch."""


@dataclass(frozen=True, slots=True)
class AssignedTask:
    """A task in a miner's hands."""

    id: Hash32
    model: Hash32
    rows: U16
    inputs: Encoded
    due: U64
    """Last height whose block may carry the commit."""
    payment: U64


@dataclass(frozen=True, slots=True)
class OpenCommit:
    """A commit that awaits its proof: all that is needed to run its work again, but the tasks' inputs."""

    id: Hash32
    root: Hash32
    units: U64
    height: U64
    commons_round: U64
    commons_seed: Hash32 | None
    """Seed of that round, not yet bound to the miner; null where the commons model was not used."""
    commons_step: U64
    """Steps that the commons model had taken when that round began."""
    commons_start: U64
    commons_count: U32
    tasks: tuple[Hash32, ...]
    beacon: Hash32 | None
    """Draws the cells; null as long as it does not exist."""
    due: U64
    """Last height whose block may carry the proof."""
    stake: U64
    """Of the bond; burns if the proof never comes."""


@dataclass(frozen=True, slots=True)
class MinerWork:
    """Everything that a miner needs to decide what to do next, of one final state."""

    height: U64
    round: U64
    """Of the next block."""
    round_seed: Hash32
    step: U64
    """Steps that the commons model had taken when the round began."""
    next_shard: U64
    """First shard of the round that the miner has not committed to."""
    base_fee: U64
    """Of the next block."""
    balance: U64
    nonce: U64
    """Of the final state."""
    next_nonce: U64
    """Behind the miner's transactions that wait at this node."""
    status: MinerStatus | None
    """Null if the account is no miner."""
    consensus_key: PublicKey | None
    bond: U64
    tasks: tuple[AssignedTask, ...]
    commits: tuple[OpenCommit, ...]
    syncing: str
    """Why the node is not in step with the chain; empty when it is."""
