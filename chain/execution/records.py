"""The typed values of the state; `state_keys` says where each one lies."""

import enum
from dataclasses import dataclass
from typing import Annotated

from chain.codec import U8, U16, U32, U64, U128, AtMost, Hash32, PublicKey
from chain.types.transaction import MAX_MODELS, MAX_TASKS_A_COMMIT, MAX_VOTE_BYTES

MaybeKey = Annotated[bytes, AtMost(32)]
"""A key or an id, or empty for none."""


@dataclass(frozen=True, slots=True)
class Account:
    """Coins, and how many transactions the account has sent."""

    balance: U64
    nonce: U64


class MinerStatus(enum.IntEnum):
    """Where a miner stands."""

    ACTIVE = 0
    """Takes tasks, commits, holds seats."""
    SUSPENDED = 1
    """The bond fell below the least by missed proofs: may prove what is open, and nothing else."""
    UNBONDING = 2
    """Left: may prove what is open until the bond comes back."""
    SLASHED = 3
    """Was proven wrong and lost its bond; may register anew."""


@dataclass(frozen=True, slots=True)
class Miner:
    """A bond and what it stands for."""

    consensus_key: PublicKey
    bond: U64
    status: MinerStatus
    unbonds_at: U64
    """Height in whose opening the bond comes back, while unbonding; else 0."""
    open_commits: U8
    models: Annotated[tuple[Hash32, ...], AtMost(MAX_MODELS)]


class TaskStatus(enum.IntEnum):
    """Where a task stands."""

    WAITING = 0
    ASSIGNED = 1
    COMMITTED = 2
    ANSWERED = 3
    REFUNDED = 4


@dataclass(frozen=True, slots=True)
class Task:
    """A question with its payment locked until it is answered or refunded."""

    submitter: PublicKey
    model: Hash32
    rows: U16
    units: U64
    payment: U64
    """Locked while the task is open, else already paid or refunded."""
    submitted_at: U64
    status: TaskStatus
    since: U64
    """Height of the last change of status."""
    due: U64
    """Height whose opening looks at the task again; 0 for never."""
    attempts: U8
    """Assignments so far."""
    miner: MaybeKey
    """Who has it, or who answered it."""
    missed: Annotated[tuple[PublicKey, ...], AtMost(255)]
    """Miners that had it and did not answer, in order, each once."""
    commit: MaybeKey
    """The commit that covers it."""
    step: U64
    """Steps that the commons model had taken when it answered, if that was the model asked; else 0."""


@dataclass(frozen=True, slots=True)
class Commit:
    """A trace bound to the ledger, before its proof."""

    miner: PublicKey
    root: Hash32
    units: U64
    stake: U64
    """Coins of the bond that burn if it is never proven; see `chain.execution.stakes`."""
    height: U64
    commons_round: U64
    """Whose seed and checkpoint were used, by shards and by tasks of the commons model."""
    commons_start: U64
    commons_count: U32
    vote: Annotated[bytes, AtMost(MAX_VOTE_BYTES)]
    tasks: Annotated[tuple[Hash32, ...], AtMost(MAX_TASKS_A_COMMIT)]
    """Ascending."""

    @property
    def claims(self) -> int:
        """Items, each of which tells an answer or a vote: the tasks, and all shards together."""
        return len(self.tasks) + (self.commons_count > 0)


@dataclass(frozen=True, slots=True)
class EpochUnits:
    """Proven units of a key that count for one epoch."""

    epoch: U64
    units: U128


@dataclass(frozen=True, slots=True)
class Weight:
    """A consensus key's proven units: one entry an epoch, ascending, no older than the averaging window.

    What is proven once an epoch's miners are weighed is entered for the next epoch.
    """

    epochs: Annotated[tuple[EpochUnits, ...], AtMost(1 << 16)]

    def since(self, epoch: int) -> int:
        """Units that count for ``epoch`` and later."""
        return sum(entry.units for entry in self.epochs if entry.epoch >= epoch)

    def within(self, first: int, last: int) -> int:
        """Units that count for the epochs ``first`` to ``last``."""
        return sum(entry.units for entry in self.epochs if first <= entry.epoch <= last)

    def credited(self, epoch: int, units: int, *, window: int) -> "Weight":
        """With ``units`` more in ``epoch``, and without what lies before the ``window`` epochs before it."""
        kept = [entry for entry in self.epochs if entry.epoch + window >= epoch]
        if kept and kept[-1].epoch == epoch:
            units += kept.pop().units
        return Weight((*kept, EpochUnits(epoch, units)))


@dataclass(frozen=True, slots=True)
class Candidate:
    """What a consensus key weighs in the coming draw of seats."""

    miner: PublicKey
    """Account that the key is tied to."""
    weight: U128
    """Units over the window, at least 1."""


@dataclass(frozen=True, slots=True)
class Supply:
    """Where all coins came from; minted and burned only ever grow."""

    genesis: U64
    minted: U128
    burned: U128

    @property
    def total(self) -> int:
        """Coins that exist: in accounts, bonds and locked payments."""
        return self.genesis + self.minted - self.burned


@dataclass(frozen=True, slots=True)
class Head:
    """What the next block builds on."""

    height: U64
    beacon: Hash32
    next_base_fee: U64


@dataclass(frozen=True, slots=True)
class Conviction:
    """A consensus key that contradicted itself; kept for ever, and never held against it twice."""

    height: U64
    """Of the block with the report."""
    epoch: U64
    view: U64
    """Where it contradicted itself."""
    report: Hash32
    """The transaction with both statements and both signatures."""
    miner: MaybeKey
    """Whom the key belonged to, if to a miner."""
    burned: U64
    """Coins of that miner's bond."""


@dataclass(frozen=True, slots=True)
class CommonsCursor:
    """The first shard of a round that a miner has not committed to yet."""

    next: U64


@dataclass(frozen=True, slots=True)
class Round:
    """A round of training: what its shards follow from, and the checkpoint that looks at them."""

    seed: Hash32
    """Beacon of the block before it."""
    step: U64
    """Steps that the model had taken when it began."""
    roots: Annotated[tuple[Hash32, ...], AtMost(256)]
    """Of the tensors in use, in the order of `pouw.training.vote_program.in_use_specs`."""


@dataclass(frozen=True, slots=True)
class ProvenVote:
    """A vote that waits for the end of the round."""

    shards: U32
    vote: Annotated[bytes, AtMost(MAX_VOTE_BYTES)]


@dataclass(frozen=True, slots=True)
class Point:
    """How good the commons model was after a step."""

    round: U64
    """At whose end it was taken."""
    step: U64
    shards: U64
    """Whose votes it followed."""
    loss: U64
    """Mean cross-entropy on images that no shard shows, nats at scale 16."""
    right: U32
    """Of them, those that it told apart rightly."""


@dataclass(frozen=True, slots=True)
class Progress:
    """What became of the commons model."""

    images: U32
    """By which it is judged."""
    first: Point
    """Before any step."""
    latest: Annotated[tuple[Point, ...], AtMost(1 << 12)]
    """After the latest steps, oldest first."""
