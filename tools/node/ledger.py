"""The ledger as consensus sees it: the final chain, and speculative blocks on top of it, keyed by digest.

A speculative block is its execution: a state tree that shares all it did not change with its parent's. Forks
are therefore cheap, dropping one is forgetting it, and nothing is written before it is final.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import trio

from chain.codec import decode, encode
from chain.execution import queries
from chain.execution.block import Execution, draft_block, execute_block
from chain.execution.header import check_header, check_outcome, context_for, make_header
from chain.execution.invalid import BlockReason, InvalidBlock
from chain.execution.models import ModelRegistry
from chain.mempool import Mempool
from chain.reports import ReportPool
from chain.state.tree import StateTree
from chain.store import BlockStore, FinalBlock
from chain.types.block import Block, Header
from chain.types.committee import Committee
from chain.types.params import MAX_BLOCK_OVERHEAD, ChainParams
from consensus.ledger import BuildRequest
from consensus.messages import Certificate
from consensus.signing.disk import Durably, at_once

MAX_CERTIFICATE_BYTES: Final = 1 << 20
MAX_SPECULATIVE: Final = 512
"""Executions above the final head that are kept; a single line of ancestors may be longer. Each took a
leader's signature in a view of its own; a fork this long only grows while nothing becomes final."""


@dataclass(frozen=True, slots=True)
class _Tip:
    """What a block builds on."""

    header: Header
    state: StateTree
    base_fee: int
    """In force in the child."""
    committee: Committee
    """Votes on the child."""


@dataclass(frozen=True, slots=True)
class _Speculative:
    block: Block
    execution: Execution


class NodeLedger:
    """Implements `consensus.ledger.Ledger` over the store, execution and the mempool."""

    def __init__(
        self,
        *,
        store: BlockStore,
        mempool: Mempool,
        params: ChainParams,
        models: ModelRegistry,
        durably: Durably = at_once,
    ) -> None:
        """Take the node's parts; ``durably`` is how what waits for the disk is done."""
        self._store = store
        self._durably = durably
        self._mempool = mempool
        self._params = params
        self._models = models
        self._speculative: dict[bytes, _Speculative] = {}
        self._dropped: dict[bytes, Block] = {}
        """Validated, and executed again if something builds on them: a want of room is no fault of a block.
        Consensus holds the same bodies, at most a few a view, until something above them is final."""
        self.reports = ReportPool(params)
        """What this node, or a peer, can prove against consensus keys: first into each block."""
        self.on_final: Callable[[Sequence[Block], Certificate], None] = lambda _blocks, _certificate: None
        """Told of blocks that are final and durable, oldest first."""

    @property
    def params(self) -> ChainParams:
        """The chain's constants."""
        return self._params

    @property
    def final_head(self) -> Header:
        """Header of the last final block."""
        return self._store.head

    def committee(self, epoch: int) -> Committee:
        """Committee of an epoch that has begun, or that the final head decided."""
        committee = self._store.committee(epoch)
        assert committee is not None, f"no committee of epoch {epoch} at height {self.final_head.height}"
        return committee

    def block(self, digest: bytes) -> Block | None:
        """A final or speculative block."""
        if digest in self._speculative:
            return self._speculative[digest].block
        if digest in self._dropped:
            return self._dropped[digest]
        height = self._store.height_of(digest)
        return self._store.block(height) if height else None

    def height_of(self, digest: bytes) -> int | None:
        """Height of a final block."""
        return self._store.height_of(digest)

    @property
    def first_block(self) -> int:
        """Least height from 1 on whose block is here."""
        return self._store.first

    def final_block(self, height: int) -> Block | None:
        """The final block at a height."""
        return self._store.block(height)

    def encoded_block(self, height: int) -> bytes | None:
        """The final block at a height, encoded."""
        return self._store.encoded_block(height)

    def final_header(self, height: int) -> Header | None:
        """The final header at a height."""
        return self._store.header(height)

    def finalization(self, height: int) -> Certificate | None:
        """The certificate that made a height final: its own, or its nearest descendant's."""
        found = self._store.next_finalization(height)
        return None if found is None else decode(Certificate, found[1], limit=MAX_CERTIFICATE_BYTES)

    async def validate(self, block: Block) -> None:
        """Check and execute a block on its parent.

        Raises:
            InvalidBlock: It breaks a rule of the chain.
        """
        await trio.lowlevel.checkpoint()
        self._execute(block)

    async def build(self, request: BuildRequest) -> Block:
        """Make a block from waiting transactions."""
        await trio.lowlevel.checkpoint()
        tip = self._tip(request.parent)
        room = self._params.max_block_bytes - MAX_BLOCK_OVERHEAD
        context = context_for(
            tip.header,
            params=self._params,
            timestamp_ms=request.timestamp_ms,
            proposer=request.proposer,
            vrf_proof=request.vrf_proof,
            base_fee=tip.base_fee,
        )
        draft = draft_block(
            tip.state,
            context,
            (*self.reports.waiting, *self._mempool.select(tip.state, max_bytes=room)),
            params=self._params,
            models=self._models,
            is_authentic=self._mempool.is_authentic,
        )
        header = make_header(
            tip.header,
            context,
            draft.execution,
            draft.transactions,
            view=request.view,
            vrf_proof=request.vrf_proof,
        )
        block = Block(header, draft.transactions)
        self._keep(header.digest, _Speculative(block, draft.execution))
        return block

    async def finalize(self, blocks: Sequence[Block], certificate: Certificate) -> None:
        """Make blocks final, oldest first, in one synced batch.

        Raises:
            InvalidBlock: One does not execute; nothing was written.
            DatabaseError: The disk failed; the head is as it was.
        """
        await trio.lowlevel.checkpoint()
        final: list[FinalBlock] = []
        for block in blocks:
            execution = self._execute(block)
            header = block.header
            own = encode(certificate) if header.digest == certificate.digest else None
            closes = header.height == self._params.last_height(header.epoch)
            final.append(
                FinalBlock(
                    block,
                    execution.outcome,
                    execution.changes,
                    own,
                    execution.next_committee if closes else None,
                )
            )
        batch = self._store.batch_of(final, execution.state)
        await self._durably(partial(self._store.write, batch))
        self._store.advance(batch)
        self._prune()
        self.on_final(blocks, certificate)

    def _execute(self, block: Block) -> Execution:
        digest = block.digest
        if digest in self._speculative:
            return self._speculative[digest].execution
        tip = self._tip(block.header.parent)
        context = check_header(
            tip.header, block, params=self._params, committee=tip.committee, base_fee=tip.base_fee
        )
        execution = execute_block(
            tip.state,
            context,
            block.transactions,
            params=self._params,
            models=self._models,
            is_authentic=self._mempool.is_authentic,
        )
        check_outcome(block.header, execution)
        self._keep(digest, _Speculative(block, execution))
        return execution

    def _tip(self, digest: bytes) -> _Tip:
        self._restore(digest)
        if digest in self._speculative:
            parent = self._speculative[digest]
            execution = parent.execution
            return _Tip(
                parent.block.header, execution.state, execution.next_base_fee, execution.next_committee
            )
        head = self.final_head
        if digest != head.digest:
            raise InvalidBlock(
                BlockReason.WRONG_PARENT, f"parent {digest.hex()} is neither final head nor validated"
            )
        base_fee = queries.head(self._store.state).next_base_fee
        return _Tip(head, self._store.state, base_fee, self.committee(self._params.epoch_of(head.height + 1)))

    def _restore(self, digest: bytes) -> None:
        """Execute again what was dropped for want of room, ancestors first."""
        line: list[Block] = []
        while digest in self._dropped:
            line.append(self._dropped[digest])
            digest = line[-1].header.parent
        for block in reversed(line):
            self._execute(block)

    def _keep(self, digest: bytes, speculative: _Speculative) -> None:
        parent = speculative.block.header.parent
        if len(self._speculative) >= MAX_SPECULATIVE:
            built_on = {kept.block.header.parent for kept in self._speculative.values()} | {parent}
            # Of a single line of ancestors nothing can go: each of them was certified by the committee.
            leaf = next((name for name in self._speculative if name not in built_on), None)
            if leaf is not None:
                self._dropped[leaf] = self._speculative.pop(leaf).block
        self._dropped.pop(digest, None)
        self._speculative[digest] = speculative

    def _prune(self) -> None:
        """Forget what does not descend from the final head."""
        head = self.final_head
        kept = {head.digest}
        survivors: dict[bytes, _Speculative] = {}
        # Children were validated after their parents, so one pass in that order finds all descendants.
        for digest, speculative in self._speculative.items():
            if speculative.block.header.height > head.height and speculative.block.header.parent in kept:
                kept.add(digest)
                survivors[digest] = speculative
        self._speculative = survivors
        self._dropped = {d: block for d, block in self._dropped.items() if block.header.height > head.height}
