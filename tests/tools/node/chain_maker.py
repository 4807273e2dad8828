"""A node's ledger over an in-memory store, and a leader that makes blocks on it."""

from dataclasses import dataclass

from chain.crypto import vrf
from chain.crypto.ed25519 import SecretKey
from chain.database.memory import MemoryDatabase
from chain.mempool import Mempool
from chain.store import BlockStore
from chain.types.block import Block, beacon_input
from chain.types.statement import Kind
from chain.types.transaction import Body, SignedTransaction, Transaction, sign_transaction
from consensus.ledger import BuildRequest
from consensus.messages import Certificate
from genesis.document import GenesisDocument
from genesis.presets import COIN, local_testnet_genesis
from genesis.registry import registry_of
from tools.node.ledger import NodeLedger
from tools.node.run import create_chain

LEADER = SecretKey(bytes([1]) * 32)
ALICE = SecretKey(bytes([2]) * 32)
BOB = SecretKey(bytes([3]) * 32)


def genesis() -> GenesisDocument:
    return local_testnet_genesis(
        validators=[(LEADER.public_key, ALICE.public_key)],
        balances={ALICE.public_key: 1000 * COIN, BOB.public_key: 10 * COIN},
        timestamp_ms=1_000,
    )


@dataclass
class Chain:
    store: BlockStore
    mempool: Mempool
    ledger: NodeLedger

    def transaction(self, sender: SecretKey, nonce: int, body: Body) -> SignedTransaction:
        return sign_transaction(
            Transaction(self.ledger.params.chain_id, sender.public_key, nonce, 10, 1, body), sender
        )

    async def build(self, parent: Block, view: int) -> Block:
        header = parent.header
        alpha = beacon_input(header.chain_id, header.beacon, view)
        epoch = self.ledger.params.epoch_of(header.height + 1)
        return await self.ledger.build(
            BuildRequest(
                parent=parent.digest, epoch=epoch, view=view, timestamp_ms=header.timestamp_ms + 500,
                proposer=LEADER.public_key, vrf_proof=vrf.prove(LEADER, alpha),
            )
        )  # fmt: skip

    def head(self) -> Block:
        block = self.store.block(self.store.head.height)
        assert block is not None
        return block


def make_chain(document: GenesisDocument | None = None) -> Chain:
    document = genesis() if document is None else document
    store = create_chain(MemoryDatabase(), document)
    mempool = Mempool(document.params)
    ledger = NodeLedger(store=store, mempool=mempool, params=document.params, models=registry_of(document))
    return Chain(store, mempool, ledger)


def certificate(block: Block) -> Certificate:
    """Of the right statement; the ledger does not check signatures, consensus has."""
    header = block.header
    return Certificate(Kind.FINALIZE, header.epoch, header.view, block.digest, ())
