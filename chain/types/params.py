"""Numbers that every node of a chain must agree on; they are part of the genesis document."""

from dataclasses import dataclass
from typing import Annotated, Final

from chain.codec import U8, U16, U32, U64, AtMost
from chain.types.committee import MAX_SEATS
from pouw.ops.ballot import MAX_BALLOTS
from pouw.proofs.sampling import MAX_SAMPLES

MAX_AVERAGING_WINDOW: Final = 1 << 13
"""Keeps a key's weight, one entry of at most 30 bytes an epoch, far below what one state entry may hold."""

ELASTICITY: Final = 2
"""A block may weigh this many times the target, as in EIP-1559."""

MIN_SAMPLES: Final = 6
"""Every other draw looks at tensors one by one; without any no bond would be enough."""

MAX_BLOCK_OVERHEAD: Final = 512
"""Bytes of a block around its transactions: its header (at most 470) and the heads of two arrays."""


@dataclass(frozen=True, slots=True)
class ChainParams:
    """The rules' constants. Local settings live in the node's own configuration, never here."""

    chain_id: Annotated[str, AtMost(32)]
    """Bound into every signature and every work commitment."""
    address_prefix: Annotated[str, AtMost(16)]
    """Human-readable part of this chain's bech32m addresses."""

    epoch_length: U32
    """Blocks that one committee votes on."""
    committee_size: U16
    """Seats apportioned at the end of an epoch."""
    averaging_window: U16
    """Epochs whose proven units make a key's weight, so that compute rented for a day buys little."""
    genesis_epochs: U16
    """Epochs in which the genesis committee sits whatever was proven, so that the first to start wins
    nothing."""
    block_interval_ms: U32
    """A leader waits this long after the parent's timestamp before it proposes."""
    network_delay_ms: U32
    """Simplex' Δ: the time after which honest messages have arrived in a well network."""

    max_block_bytes: U32
    max_transaction_bytes: U32
    base_fee_floor: U64
    """Fee per unit of transaction weight below which the base fee never falls."""
    target_block_weight: U64
    """The base fee rises above this weight a block and falls below it."""
    cell_weight: U32
    """Transaction weight of one checked cell; one byte weighs 1."""

    min_bond: U64
    """Coins a miner locks at least; lost whole when its work is proven wrong. Covers the dearest task."""
    unbonding_blocks: U32
    """Blocks between a miner's leave and the return of its bond."""
    missed_proof_penalty: U64
    """Coins that a commit puts at stake at least: they burn when it is never proven."""

    commons_batch: U16
    """Images in one shard of the commons."""
    max_commons_units: U32
    """Shards that one commit may cover."""
    round_length: U16
    """Blocks between two steps of the commons model."""
    max_open_commits: U8
    """Commits of one miner that may await their proof at once."""
    reward_per_million_units: U64
    """Coins minted per 10**6 proven multiply-accumulates, paid tasks included."""
    samples: U16
    """Cells that one proof opens."""
    beacon_delay: U8
    """Blocks between a commit and the beacon that draws its cells."""
    proof_window: U16
    """Blocks after that beacon in which the proof must come."""

    task_deadline: U16
    """Blocks between an assignment and the commit that answers it."""
    max_task_attempts: U8
    """Assignments before a task is refunded."""
    max_task_rows: U16
    price_per_million_units: U64
    """Least payment for a task, per 10**6 multiply-accumulates of its program, at least 1 coin a task."""

    task_retention: U32
    """Blocks that a finished task and its answer stay in the state; the blocks themselves keep them for ever.
    """

    def __post_init__(self) -> None:
        positive = (
            "epoch_length", "committee_size", "averaging_window", "network_delay_ms", "max_block_bytes",
            "base_fee_floor", "target_block_weight", "commons_batch", "round_length", "samples",
            "beacon_delay", "proof_window", "task_deadline", "max_task_attempts", "max_open_commits",
        )  # fmt: skip
        for name in positive:
            if getattr(self, name) == 0:
                raise ValueError(f"{name} must be positive")
        heaviest = self.max_transaction_bytes + self.samples * self.cell_weight
        if heaviest > self.max_block_weight:
            raise ValueError(f"a proof may weigh {heaviest}, a block only {self.max_block_weight}")
        if self.max_transaction_bytes + MAX_BLOCK_OVERHEAD > self.max_block_bytes:
            raise ValueError(
                f"a block of {self.max_block_bytes} bytes must hold a transaction of "
                f"{self.max_transaction_bytes} and {MAX_BLOCK_OVERHEAD} for its header"
            )
        if not MIN_SAMPLES <= self.samples <= MAX_SAMPLES:
            raise ValueError(f"samples is {self.samples}, {MIN_SAMPLES} to {MAX_SAMPLES} can be")
        if self.missed_proof_penalty > self.min_bond:
            raise ValueError(
                f"missed_proof_penalty is {self.missed_proof_penalty}: a bond of {self.min_bond} would cover "
                "no commit"
            )
        if self.max_commons_units > MAX_BALLOTS:
            raise ValueError(f"max_commons_units is {self.max_commons_units}, at most {MAX_BALLOTS}")
        if self.averaging_window > MAX_AVERAGING_WINDOW:
            raise ValueError(f"averaging_window is {self.averaging_window}, at most {MAX_AVERAGING_WINDOW}")
        if self.committee_size > MAX_SEATS:
            raise ValueError(f"committee_size is {self.committee_size}, at most {MAX_SEATS}")

    @property
    def max_block_weight(self) -> int:
        """Weight that no block may pass."""
        return ELASTICITY * self.target_block_weight

    def epoch_of(self, height: int) -> int:
        """Epoch whose committee votes on the block at ``height`` (genesis, height 0, closes none)."""
        assert height >= 1, "genesis is voted on by nobody"
        return (height - 1) // self.epoch_length

    def last_height(self, epoch: int) -> int:
        """Height of the last block of ``epoch``."""
        return (epoch + 1) * self.epoch_length

    def weighed_at(self, epoch: int) -> int:
        """Height in whose opening the miners are weighed for the committee after ``epoch``.

        Whoever chooses what is in a block before it knows none of the ``beacon_delay`` beacons up to the one
        that draws the seats; an epoch that is shorter weighs in its first block.
        """
        return self.last_height(epoch) + 1 - min(self.beacon_delay, self.epoch_length)
