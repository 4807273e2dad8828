"""What must survive a power cut besides our own signatures: the newest certificates and the bodies they name.

A whole cluster may lose power at once. Whoever signs notarize(b) keeps b, whoever signs finalize(b, v) keeps
notarization(b, v), both *before* the signature leaves; so whatever a quorum may have made unavoidable, some honest
node can still show.
"""

from collections.abc import Iterable, Sequence
from typing import Protocol


class Journal(Protocol):
    """Durable keys and values; a node gives us a corner of its database."""

    def save(self, records: Sequence[tuple[bytes, bytes | None]]) -> None:
        """Write all of ``records`` or none, durable when it returns; None deletes a key."""
        ...

    def load(self) -> Iterable[tuple[bytes, bytes]]:
        """Everything saved and not deleted, in any order."""
        ...
