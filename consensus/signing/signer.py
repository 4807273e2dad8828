"""The consensus key behind its signing guard: the only place that signs."""

from typing import Protocol

from chain.codec import decode, encode
from chain.types.block import Block
from chain.types.statement import Kind, Statement
from consensus.messages import Proposal, Vote
from consensus.signing.guard_log import MAX_PAYLOAD
from consensus.signing.signing_guard import SigningGuard
from consensus.simplex.witness import WITNESSED_VIEWS


class Key(Protocol):
    """A secret key that signs deterministically: the same message, the same signature."""

    @property
    def public_key(self) -> bytes:
        """The 32-byte public key."""
        ...

    def sign(self, message: bytes) -> bytes:
        """A 64-byte signature."""
        ...


class Prover(Protocol):
    """The VRF of the consensus key."""

    def __call__(self, alpha: bytes) -> bytes:
        """The proof over ``alpha``."""
        ...


class Signer:
    """Signs votes and proposals after the guard has made them durable, and proves the VRF."""

    def __init__(self, key: Key, guard: SigningGuard, *, chain_id: str, prove: Prover) -> None:
        """Take a key, the guard of its log, and the VRF of the same key."""
        self._key = key
        self._guard = guard
        self._chain_id = chain_id
        self._prove = prove

    @property
    def public_key(self) -> bytes:
        """The consensus key."""
        return self._key.public_key

    def vote(self, statement: Statement) -> Vote:
        """Sign a vote; the very same vote again if it was signed before.

        Raises:
            consensus.signing.signing_guard.GuardError: It would contradict an earlier signature, or may.
        """
        stored = self._guard.stored(statement)
        if stored is None:
            signature = self._key.sign(statement.signing_bytes(self._chain_id))
            self._guard.record(statement, signature)
        else:
            signature = stored
        return self._as_vote(statement, signature)

    def propose(self, epoch: int, view: int, block: Block) -> tuple[bytes, Proposal]:
        """Sign a proposal; the stored one if a proposal was signed for this view before, whatever its block.

        Returns:
            The digest of the proposed block, and the proposal.

        Raises:
            GuardError: A proposal of this view may have been signed and is lost.
        """
        statement = Statement(Kind.PROPOSE, epoch, view, block.digest)
        stored = self._guard.stored(statement)
        if stored is not None:
            proposal = decode(Proposal, stored, limit=MAX_PAYLOAD)
            return proposal.block.digest, proposal
        signature = self._key.sign(statement.signing_bytes(self._chain_id))
        proposal = Proposal(epoch, view, block, signature)
        self._guard.record(statement, encode(proposal))
        return statement.digest, proposal

    def has_signed(self, statement: Statement) -> bool:
        """Whether the log holds this very vote, or is not kept any more for its epoch."""
        return self._guard.covers(statement)

    def was_here(self, at: tuple[int, int], *, within: int) -> bool:
        """Whether the key was let sign at this very place, at most ``within`` views before ``at``.

        Args:
            at: Epoch and view of the chain.
            within: Views; an epoch that has just begun counts like the end of the one before.
        """
        newest, (epoch, view) = self._guard.newest, at
        is_recent = newest >= at or (
            view - newest[1] <= within if newest[0] == epoch else newest[0] + 1 == epoch and view <= within
        )
        return is_recent and self._guard.is_in_place

    def settle(self) -> None:
        """Note in the log that the key signs here from now on."""
        self._guard.settle()

    @property
    def is_full(self) -> bool:
        """Whether the log is so large that `forget` may make it smaller."""
        return self._guard.is_full

    def forget(self, epoch: int, final_view: int) -> None:
        """The chain is final up to a view: what lies well below it need not be kept.

        The views in which others may still be convicted are: what our key seems to have signed there must be
        found in the log, or another holder of the key would go unnoticed (`consensus.verifier`).

        Raises:
            OSError: The log could not be written.
        """
        self._guard.forget(epoch, max(0, final_view + 1 - WITNESSED_VIEWS))

    def prove(self, alpha: bytes) -> bytes:
        """The VRF proof of the consensus key over ``alpha``."""
        return self._prove(alpha)

    def resume(
        self, epoch: int, *, floor: int = 0
    ) -> tuple[tuple[Vote, ...], tuple[tuple[bytes, Proposal], ...]]:
        """Votes, and proposals under their digests, signed in ``epoch`` before; older epochs are over.

        Views below ``floor`` are final, and what was signed there is not said again.
        """
        self._guard.finish_epochs(epoch)
        votes: list[Vote] = []
        proposals: list[tuple[bytes, Proposal]] = []
        for entry in self._guard.entries(epoch):
            if entry.statement.view < floor:
                continue
            if entry.statement.kind is not Kind.PROPOSE:
                # A vote that was torn is signed once more: the same statement has the same signature.
                votes.append(self.vote(entry.statement))
            elif entry.stored:
                proposals.append((entry.statement.digest, decode(Proposal, entry.stored, limit=MAX_PAYLOAD)))
        return tuple(votes), tuple(proposals)

    def _as_vote(self, statement: Statement, signature: bytes) -> Vote:
        return Vote(
            statement.kind, statement.epoch, statement.view, statement.digest, self.public_key, signature
        )
