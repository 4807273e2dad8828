"""What an account may ask of the ledger."""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Final

from chain.codec import U16, U32, U64, AtMost, Hash32, PublicKey, Signature, encode
from chain.crypto import ed25519
from chain.hashing import digest
from chain.types.evidence import Evidence

MAX_TASK_BYTES: Final = 1 << 20
MAX_PROOF_BYTES: Final = 1 << 21
MAX_ANSWER_BYTES: Final = 1 << 18
MAX_MODELS: Final = 64
MAX_TASKS_A_COMMIT: Final = 64
MAX_VOTE_BYTES: Final = 1 << 16

NOBODY: Final = bytes(32)
"""The sender of a report. No key has this public half: ed25519 refuses it as one of small order."""

NO_SIGNATURE: Final = bytes(64)


@dataclass(frozen=True, slots=True)
class Transfer:
    """Move coins to another account."""

    TAG: ClassVar[int] = 1
    to: PublicKey
    amount: U64


@dataclass(frozen=True, slots=True)
class RegisterMiner:
    """Lock a bond and tie the sender's work to one consensus key, one to one."""

    TAG: ClassVar[int] = 2
    consensus_key: PublicKey
    possession: Signature
    """By the consensus key over `possession_message`: nobody ties another's key to themselves."""
    bond: U64
    models: Annotated[tuple[Hash32, ...], AtMost(MAX_MODELS)]
    """Models whose tasks the miner takes, strictly ascending."""


@dataclass(frozen=True, slots=True)
class Unregister:
    """Stop mining; the bond comes back after the unbonding time."""

    TAG: ClassVar[int] = 3


@dataclass(frozen=True, slots=True)
class SubmitTask:
    """Ask for a model's answer to a batch of inputs and lock the payment for it."""

    TAG: ClassVar[int] = 4
    model: Hash32
    rows: U16
    inputs: Annotated[bytes, AtMost(MAX_TASK_BYTES)]
    """``rows`` times the model's input width, int8, row after row."""
    payment: U64


@dataclass(frozen=True, slots=True)
class TaskAnswer:
    """The last op's output for a task: what the customer gets, and what the commitment must hold."""

    task: Hash32
    answer: Annotated[bytes, AtMost(MAX_ANSWER_BYTES)]


@dataclass(frozen=True, slots=True)
class CommitWork:
    """Bind the sender to a trace before anyone knows which of its cells will be drawn."""

    TAG: ClassVar[int] = 5
    root: Hash32
    units: U64
    """Multiply-accumulates claimed; must equal what tasks and shards cost, or the bond burns."""
    commons_round: U64
    """Round whose seed the shards derive from, and with whose checkpoint the commons model was used."""
    commons_start: U64
    """First shard; where the miner's last range of that round ended."""
    commons_count: U32
    """Shards of the commons' data that were looked at."""
    vote: Annotated[bytes, AtMost(MAX_VOTE_BYTES)]
    """Which way they say that each number of the commons model should move, packed; empty without shards."""
    tasks: Annotated[tuple[TaskAnswer, ...], AtMost(MAX_TASKS_A_COMMIT)]
    """Strictly ascending by task."""


@dataclass(frozen=True, slots=True)
class ProveWork:
    """Open the cells that the beacon drew from one of the sender's commits."""

    TAG: ClassVar[int] = 6
    commit: Hash32
    """Id of the transaction that carried the commit."""
    proof: Annotated[bytes, AtMost(MAX_PROOF_BYTES)]


@dataclass(frozen=True, slots=True)
class ReportEquivocation:
    """Prove that a consensus key contradicted itself. Sent by nobody, for nothing: see `report_of`."""

    TAG: ClassVar[int] = 7
    evidence: Evidence


Body = Transfer | RegisterMiner | Unregister | SubmitTask | CommitWork | ProveWork | ReportEquivocation


@dataclass(frozen=True, slots=True)
class Transaction:
    """A body with everything that a signature must cover."""

    chain_id: Annotated[str, AtMost(32)]
    sender: PublicKey
    nonce: U64
    """Number of the sender's transactions before this one."""
    max_base_fee: U64
    """Highest base fee per unit of weight that the sender accepts."""
    tip: U64
    """Coins per unit of weight for the block's proposer."""
    body: Body

    @property
    def id(self) -> bytes:
        """Names the transaction whatever bytes its signature has, so signatures cannot rename it."""
        return digest("headrace/transaction", encode(self))


@dataclass(frozen=True, slots=True)
class SignedTransaction:
    """A transaction and its sender's signature."""

    transaction: Transaction
    signature: Signature

    @property
    def id(self) -> bytes:
        """The transaction's id."""
        return self.transaction.id

    def is_authentic(self) -> bool:
        """Whether the sender signed it; never true of a report, which nobody signs."""
        return ed25519.verify(self.transaction.sender, signing_message(self.transaction), self.signature)


def signing_message(transaction: Transaction) -> bytes:
    """What the sender signs."""
    return digest("headrace/transaction-signature", transaction.id)


def sign_transaction(transaction: Transaction, secret: ed25519.SecretKey) -> SignedTransaction:
    """Sign as the transaction's sender."""
    assert secret.public_key == transaction.sender, "the key is not the sender's"
    return SignedTransaction(transaction, secret.sign(signing_message(transaction)))


def report_of(evidence: Evidence, *, chain_id: str) -> SignedTransaction:
    """The one transaction that reports this evidence: whoever makes it makes the same bytes."""
    transaction = Transaction(chain_id, NOBODY, 0, 0, 0, ReportEquivocation(evidence))
    return SignedTransaction(transaction, NO_SIGNATURE)


def possession_message(chain_id: str, miner: bytes) -> bytes:
    """What a consensus key signs to be tied to ``miner``."""
    return digest("headrace/possession", chain_id.encode(), miner)
