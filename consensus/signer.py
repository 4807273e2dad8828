"""The consensus key behind its signing guard: the only place that signs."""

from consensus.messages import Proposal, Vote, Statement
from chain.types.block import Block


class Signer:
    """Signs votes and proposals after the guard has made them durable, and proves the VRF."""

    @property
    def public_key(self) -> bytes:
        """The consensus key."""
        raise NotImplementedError

    def vote(self, statement: Statement) -> Vote:
        """Sign a vote; the very same vote again if it was signed before.

        Raises:
            consensus.signing_guard.GuardError: It would contradict an earlier signature, or may.
        """
        raise NotImplementedError

    def propose(self, epoch: int, view: int, block: Block) -> Proposal:
        """Sign a proposal; the stored one if a proposal was signed for this view before, whatever its block.

        Raises:
            consensus.signing_guard.GuardError: A proposal of this view may have been signed and is lost.
        """
        raise NotImplementedError

    def prove(self, alpha: bytes) -> bytes:
        """The VRF proof of the consensus key over ``alpha``."""
        raise NotImplementedError
