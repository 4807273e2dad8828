"""Two signatures of one key that no honest validator makes, not even across crashes."""

from dataclasses import dataclass

from chain.codec import PublicKey, Signature
from chain.crypto import ed25519
from consensus.messages import Kind, Statement


@dataclass(frozen=True, slots=True)
class Evidence:
    """Both statements, both signatures; the pair convicts without a vote."""

    signer: PublicKey
    first: Statement
    first_signature: Signature
    second: Statement
    second_signature: Signature

    def __post_init__(self) -> None:
        if not excludes(self.first, self.second):
            raise ValueError(f"{self.first} and {self.second} may both be signed")

    def is_authentic(self, chain_id: str) -> bool:
        """Whether the accused signed both."""
        return all(
            ed25519.verify(self.signer, statement.signing_bytes(chain_id), signature)
            for statement, signature in (
                (self.first, self.first_signature),
                (self.second, self.second_signature),
            )
        )


def excludes(first: Statement, second: Statement) -> bool:
    """Whether no honest validator signs both: two blocks of one kind in a view, or finalize and nullify."""
    if (first.epoch, first.view) != (second.epoch, second.view):
        return False
    if first.kind is second.kind:
        return first.digest != second.digest
    return {first.kind, second.kind} == {Kind.FINALIZE, Kind.NULLIFY}
