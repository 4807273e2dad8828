"""What the RPC needs of a node: the one seam between the two, so that tests can answer for a node."""

from dataclasses import dataclass
from typing import Protocol

from chain.execution.models import ModelRegistry
from chain.reasons import Reason
from chain.state.tree import StateTree
from chain.store import BlockStore
from chain.types.block import Header
from chain.types.committee import Committee
from chain.types.transaction import SignedTransaction
from consensus.sync.light import ChainProof
from genesis.document import GenesisDocument


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """How a node stands, at one moment."""

    view: int
    """View of the running Simplex instance."""
    epoch: int
    """Epoch of the next height."""
    lag_ms: int
    """Milliseconds since the timestamp of the last final block."""
    syncing: str
    """Why the node does not follow the chain yet, as a sentence; empty when it does."""
    committee: Committee
    """Votes on the next height."""
    disk: str = ""
    """What is wrong with the node's disk, as a sentence; empty when nothing is."""


@dataclass(frozen=True, slots=True)
class PeerView:
    """One connected peer."""

    peer: str
    address: str
    inbound: bool
    connected_ms: int
    """For how long."""
    bytes_in: int
    bytes_out: int
    score: int
    complaint: str
    """The latest one about it, or empty."""
    dropped_consensus: int
    """Frames on the consensus lane that found the queue to this peer full."""
    dropped_transactions: int
    """The same on the lane of transactions."""


class MempoolView(Protocol):
    """What waits to be put into a block."""

    def __len__(self) -> int:
        """Transactions waiting."""
        ...

    def get(self, transaction_id: bytes) -> SignedTransaction | None:
        """A waiting transaction by its id."""
        ...

    def fate(self, transaction_id: bytes) -> Reason | None:
        """Why a transaction that was accepted here was dropped later, as long as that is remembered."""
        ...

    def next_nonce(self, sender: bytes, state_nonce: int) -> int:
        """First nonce of a sender that no waiting transaction uses, at least `state_nonce`."""
        ...


class NodeView(Protocol):
    """A running node, read by many and changed by `submit` alone."""

    @property
    def genesis(self) -> GenesisDocument:
        """What the chain is made of."""
        ...

    @property
    def head(self) -> Header:
        """Header of the last final block."""
        ...

    @property
    def state(self) -> StateTree:
        """State after the last final block."""
        ...

    @property
    def store(self) -> BlockStore:
        """The final chain."""
        ...

    @property
    def mempool(self) -> MempoolView:
        """Transactions that wait."""
        ...

    @property
    def models(self) -> ModelRegistry:
        """The chain's models."""
        ...

    @property
    def consensus_key(self) -> bytes | None:
        """The public key that this node votes with, or None if it only verifies."""
        ...

    def status(self) -> NodeStatus:
        """How the node stands now."""
        ...

    def peers(self) -> tuple[PeerView, ...]:
        """Connected peers, by id."""
        ...

    def possession(self, miner: bytes) -> bytes | None:
        """This node's consensus key's signature that it belongs to `miner`; None without such a key."""
        ...

    async def chain_proof(self, height: int) -> ChainProof | None:
        """What proves the header of a final height to whoever has the genesis file; None for genesis.

        Raises:
            WayTooLong: From the genesis file to there.
        """
        ...

    async def submit(self, signed: SignedTransaction) -> Reason:
        """Hand a transaction to the mempool and the peers; `Reason.OK` or why not."""
        ...
