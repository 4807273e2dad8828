"""Transactions between nodes, in batches: one frame for many, because a frame costs far more than its bytes.

A transaction is passed on once, by each node that found it new and acceptable, to every peer but the one it
came from.
"""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, Final

import trio

from chain.codec import AtMost, decode, encode
from chain.msgpack_reader import DecodeError
from chain.reasons import Reason
from chain.types.transaction import SignedTransaction
from p2p.network import MAX_TRANSACTIONS_FRAME, Inbound, Lane, Network, PeerId

_log = logging.getLogger(__name__)

MAX_BATCH: Final = 1024
"""Transactions in one frame."""

FLUSH_BYTES: Final = 1 << 18
"""A batch of this size leaves at once."""

FLUSH_SECONDS: Final = 0.01
"""A transaction waits at most this long for company."""

_QUEUE: Final = 4096

_INEXCUSABLE: Final = frozenset(
    {
        Reason.WRONG_CHAIN,
        Reason.TOO_LARGE,
        Reason.BAD_SIGNATURE,
        Reason.REPORT_NOT_PLAIN,
        Reason.EVIDENCE_UNSIGNED,
    }
)
"""What no honest node passes on. All other refusals depend on the moment: on nonces, fees, miners, room."""


@dataclass(frozen=True, slots=True)
class Batch:
    """One frame on the transactions lane."""

    transactions: Annotated[tuple[SignedTransaction, ...], AtMost(MAX_BATCH)]


class TransactionGossip:
    """Carries transactions between the mempool and the peers."""

    def __init__(self, network: Network, accept: Callable[[SignedTransaction], Reason]) -> None:
        self._network = network
        self._accept = accept
        self._outbox, self._pending = trio.open_memory_channel[tuple[SignedTransaction, PeerId | None]](
            _QUEUE
        )
        self.dropped = 0
        """Transactions not passed on because the queue was full; their senders send them again."""

    def pass_on(self, transaction: SignedTransaction, *, source: PeerId | None = None) -> None:
        """Queue an accepted transaction for every peer but ``source``."""
        try:
            self._outbox.send_nowait((transaction, source))
        except trio.WouldBlock:
            self.dropped += 1

    def take(self, inbound: Inbound) -> Iterator[None]:
        """Take one frame of a peer into the mempool, in steps: the reading, then each transaction."""
        try:
            batch = decode(Batch, inbound.payload, limit=MAX_TRANSACTIONS_FRAME)
        except DecodeError as error:
            self._network.report(inbound.peer, f"transactions: {error}")
            return
        for transaction in batch.transactions:
            yield
            reason = self._accept(transaction)
            if reason is Reason.OK:
                self.pass_on(transaction, source=inbound.peer)
            elif reason in _INEXCUSABLE:
                self._network.report(inbound.peer, f"transaction refused: {reason.name}")

    async def run(self) -> None:
        """Send batches for ever."""
        while True:
            batch = [await self._pending.receive()]
            size = len(encode(batch[0][0]))
            with trio.move_on_after(FLUSH_SECONDS):
                while size < FLUSH_BYTES and len(batch) < MAX_BATCH:
                    batch.append(await self._pending.receive())
                    size += len(encode(batch[-1][0]))
            self._send(batch)

    def _send(self, batch: list[tuple[SignedTransaction, PeerId | None]]) -> None:
        for peer in self._network.peers():
            for frame in _frames([transaction for transaction, source in batch if source != peer]):
                self._network.send(peer, Lane.TRANSACTIONS, frame)


def _frames(transactions: list[SignedTransaction]) -> list[bytes]:
    """Frames within the lane's limit that hold these transactions in order."""
    if not transactions:
        return []
    frame = encode(Batch(tuple(transactions)))
    if len(frame) <= MAX_TRANSACTIONS_FRAME:
        return [frame]
    assert len(transactions) > 1, "one transaction is far smaller than a frame"
    half = len(transactions) // 2
    return _frames(transactions[:half]) + _frames(transactions[half:])
