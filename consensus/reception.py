"""From a frame to a message: most of what comes is of no use, and its head tells so.

Decoding costs 50 ms a mebibyte and reading a head nothing, so a body is decoded only when its message is of
this epoch and may be news, or of the next with room to hold it.
"""

from collections.abc import Callable
from typing import Final

import trio

from consensus.admission import Admission, Place
from consensus.ledger import Ledger
from consensus.messages import (
    ConsensusMessage,
    Head,
    Proposal,
    decode_message,
    encode_message,
    read_head,
)
from consensus.simplex.protocol import Simplex
from p2p.network import MAX_CONSENSUS_FRAME, Inbound, Lane, Network, PeerId

OVER_COST: Final = 1 << 14
"""Bytes that a frame of an epoch that is over counts beside its own. A stranger may then send 512 of them at
once, more than a node that is late has waiting for us, and 64 a second, more than one that is stuck repeats:
whoever sends more is read more slowly, and loses neither points nor its connection."""

PROPOSAL_OVERHEAD: Final = 128
"""More than what a proposal is beside its block: a tag, two numbers, a signature, the heads of these."""


class Reception:
    """Reads frames, holds what comes early, and shows the end of an epoch to whoever is stuck in it."""

    def __init__(
        self, network: Network, ledger: Ledger, *, epoch: int, hint: Callable[[PeerId], None]
    ) -> None:
        """Start in ``epoch``; ``hint`` is told of peers that seem to be ahead."""
        self._network = network
        self._ledger = ledger
        self._hint = hint
        self._admission = Admission(epoch, answer_every_ms=2 * ledger.params.network_delay_ms)

    def enter(self, epoch: int) -> list[tuple[PeerId, ConsensusMessage]]:
        """Move to ``epoch`` and return what was held for it."""
        return self._admission.enter(epoch)

    def read(self, frame: Inbound, simplex: Simplex) -> ConsensusMessage | None:
        """The frame's message if it is of the running instance's epoch and may be news to it.

        Raises:
            chain.codec.DecodeError: No honest peer sends this.
        """
        head = read_head(frame.payload)
        place = self._admission.sort(frame.peer, head, now_ms=int(trio.current_time() * 1000))
        if place is Place.NOW:
            return None if simplex.knows_by_head(head) else self._decoded(frame, head)
        if place is Place.HELD:
            self._admission.hold(frame.peer, self._decoded(frame, head))
        if place in (Place.HELD, Place.AHEAD):
            self._hint(frame.peer)
        elif head.epoch < simplex.epoch:
            self._on_over(frame.peer, head, is_stuck=place is Place.STUCK)
        return None

    def _on_over(self, origin: PeerId, head: Head, *, is_stuck: bool) -> None:
        self._network.charge(origin, Lane.CONSENSUS, OVER_COST)
        end = self._ledger.finalization(self._ledger.params.last_height(head.epoch)) if is_stuck else None
        if end is not None:
            self._network.send(origin, Lane.CONSENSUS, encode_message(end))

    def _decoded(self, frame: Inbound, head: Head) -> ConsensusMessage:
        """A proposal is kept before its block is checked: one larger than a block may be is not read."""
        limit = MAX_CONSENSUS_FRAME
        if head.message is Proposal:
            limit = min(limit, self._ledger.params.max_block_bytes + PROPOSAL_OVERHEAD)
        return decode_message(frame.payload, limit=limit)
