"""Chains of many blocks, made without consensus but with everything that a stranger checks.

Four validators take turns; three of them sign each block. A few blocks have no certificate of their own.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from chain.crypto import vrf
from chain.crypto.ed25519 import SecretKey, derive_seed
from chain.database.interface import Database
from chain.execution import queries
from chain.mempool import Mempool
from chain.store import BlockStore
from chain.types.block import Block, beacon_input
from chain.types.statement import Kind, Statement
from chain.types.transaction import Transaction, Transfer, sign_transaction
from consensus.ledger import BuildRequest
from consensus.messages import Certificate, Seal
from genesis.document import GenesisDocument
from genesis.presets import COIN, local_testnet_genesis
from genesis.registry import registry_of
from tools.node.ledger import NodeLedger
from tools.node.run import create_chain

KEYS = {key.public_key: key for key in (SecretKey(derive_seed(bytes(32), "consensus", i)) for i in range(4))}
ALICE = SecretKey(derive_seed(bytes(32), "account", 0))
GENESIS_MS = 1_700_000_000_000


def document(*, epoch_length: int = 40) -> GenesisDocument:
    made = local_testnet_genesis(
        validators=[(key, ALICE.public_key) for key in KEYS],
        balances={ALICE.public_key: 1_000_000 * COIN},
        timestamp_ms=GENESIS_MS,
    )
    return replace(made, params=replace(made.params, epoch_length=epoch_length))


@dataclass
class LongChain:
    genesis: GenesisDocument
    store: BlockStore
    mempool: Mempool
    ledger: NodeLedger

    async def grow(self, blocks: int, *, transfers: int = 1, direct: int = 1) -> None:
        """Add blocks with ``transfers`` payments to new accounts; one in ``direct`` has a certificate."""
        waiting: list[Block] = []
        params = self.genesis.params
        nonce = queries.account(self.store.state, ALICE.public_key).nonce
        for number in range(1, blocks + 1):
            for _ in range(transfers if not waiting else 0):
                self._pay(nonce)
                nonce += 1
            block = await self._build(waiting[-1] if waiting else None)
            waiting.append(block)
            height = block.header.height
            if height % direct == 0 or number == blocks or height == params.last_height(block.header.epoch):
                await self.ledger.finalize(waiting, certify(self.genesis, block))
                self.mempool.revalidate(self.store.state, [ALICE.public_key])
                waiting = []

    def _pay(self, nonce: int) -> None:
        to = derive_seed(bytes(32), "payee", nonce)
        chain_id = self.genesis.params.chain_id
        transaction = Transaction(chain_id, ALICE.public_key, nonce, 1000, 1, Transfer(to, 5))
        reason = self.mempool.add(sign_transaction(transaction, ALICE), self.store.state)
        assert reason.name == "OK", reason

    async def _build(self, above: Block | None) -> Block:
        parent = self.ledger.final_head if above is None else above.header
        height = parent.height + 1
        key = KEYS[sorted(KEYS)[height % len(KEYS)]]
        alpha = beacon_input(parent.chain_id, parent.beacon, height)
        return await self.ledger.build(
            BuildRequest(
                parent=parent.digest, epoch=self.genesis.params.epoch_of(height), view=height,
                timestamp_ms=parent.timestamp_ms + 500, proposer=key.public_key,
                vrf_proof=vrf.prove(key, alpha),
            )
        )  # fmt: skip


def certify(genesis: GenesisDocument, block: Block) -> Certificate:
    """A finalization by three of the four."""
    header = block.header
    statement = Statement(Kind.FINALIZE, header.epoch, header.view, block.digest)
    message = statement.signing_bytes(genesis.params.chain_id)
    seals = tuple(Seal(index, KEYS[key].sign(message)) for index, key in enumerate(sorted(KEYS)[:3]))
    return Certificate(Kind.FINALIZE, header.epoch, header.view, block.digest, seals)


def open_chain(database: Database, genesis: GenesisDocument) -> LongChain:
    """The chain in a database; an empty one gets its genesis."""
    store = BlockStore.open(database, genesis=genesis.digest) or create_chain(database, genesis)
    mempool = Mempool(genesis.params)
    ledger = NodeLedger(store=store, mempool=mempool, params=genesis.params, models=registry_of(genesis))
    return LongChain(genesis, store, mempool, ledger)


def copy_into(source: Iterable[tuple[bytes, bytes]], target: Database, *, batch: int = 5000) -> None:
    """Copy all entries of a database."""
    entries: list[tuple[bytes, bytes | None]] = []
    for entry in source:
        entries.append(entry)
        if len(entries) == batch:
            target.write(entries)
            entries = []
    target.write(entries)
