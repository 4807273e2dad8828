"""Two signatures of one key that no honest validator makes, not even across crashes.

```
 two PROPOSE, two NOTARIZE or two FINALIZE     of one view, for different blocks
 NULLIFY and FINALIZE                          of one view
```

Nothing else in Simplex convicts: notarize goes with nullify, and with a finalize for another block, which an
honest validator signs when it sees that other block notarized.
"""

from dataclasses import dataclass

from chain.codec import PublicKey, Signature
from chain.types.statement import Statement, excludes


@dataclass(frozen=True, slots=True)
class Evidence:
    """Both statements and both signatures, in the one order that is valid; they convict without a vote."""

    signer: PublicKey
    """Consensus key of the accused."""
    first: Statement
    first_signature: Signature
    second: Statement
    """Of the same epoch and view, and above the first by kind and digest."""
    second_signature: Signature

    def __post_init__(self) -> None:
        if not excludes(self.first, self.second):
            raise ValueError(f"{self.first} and {self.second} may both be signed")
        if _rank(self.first) > _rank(self.second):
            raise ValueError(f"{self.first} comes after {self.second}")

    @property
    def epoch(self) -> int:
        """Epoch of the view that the key contradicted itself in."""
        return self.first.epoch

    @property
    def view(self) -> int:
        """The view that the key contradicted itself in."""
        return self.first.view

    def is_authentic(self, chain_id: str) -> bool:
        """Whether the accused signed both."""
        return self.first.is_signed(self.signer, self.first_signature, chain_id) and self.second.is_signed(
            self.signer, self.second_signature, chain_id
        )


def evidence_of(
    signer: bytes, one: tuple[Statement, bytes], other: tuple[Statement, bytes]
) -> Evidence | None:
    """Evidence from two pairs (statement, signature) of one key, if the statements exclude each other."""
    if not excludes(one[0], other[0]):
        return None
    first, second = sorted((one, other), key=lambda signed: _rank(signed[0]))
    return Evidence(signer, *first, *second)


def _rank(statement: Statement) -> tuple[int, bytes]:
    return (statement.kind, statement.digest)
