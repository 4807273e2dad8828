"""What must survive a power cut besides our own signatures: the newest certificates and the bodies they name.

A whole cluster may lose power at once. Whoever signs notarize(b) keeps b, whoever signs finalize(b, v)
keeps notarization(b, v), both *before* the signature leaves; so whatever a quorum may have made
unavoidable, some honest node can still show.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from chain.codec import decode, encode
from chain.types.block import Block
from consensus.messages import Certificate

_CERTIFICATE: Final = b"c"
_BLOCK: Final = b"b"
_MAX_RECORD: Final = 1 << 24


class Journal(Protocol):
    """Durable keys and values; a node gives us a corner of its database."""

    def save(self, records: Sequence[tuple[bytes, bytes | None]]) -> None:
        """Write all of ``records`` or none, durable when it returns; None deletes a key."""
        ...

    def load(self) -> Iterable[tuple[bytes, bytes]]:
        """Everything saved and not deleted, in any order."""
        ...


@dataclass(frozen=True, slots=True)
class Saved:
    """What came back after a restart."""

    certificates: tuple[Certificate, ...]
    blocks: tuple[tuple[bytes, Block], ...]
    """Bodies under their digests."""


class SafeStore:
    """Certificates and bodies of the views that are not final yet, in a journal.

    What has become final is forgotten with the next write, not with one of its own: a stale record does no
    harm.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._certificates: dict[bytes, tuple[int, int]] = {}
        self._heights: dict[bytes, int] = {}
        self._stale: list[bytes] = []

    def save(self, certificates: Iterable[Certificate], blocks: Iterable[tuple[bytes, Block]]) -> None:
        """Make certificates and bodies durable."""
        records: list[tuple[bytes, bytes | None]] = [(key, None) for key in self._stale]
        for certificate in certificates:
            key = _certificate_key(certificate)
            self._certificates[key] = (certificate.epoch, certificate.view)
            records.append((key, encode(certificate)))
        for digest, block in blocks:
            key = _BLOCK + digest
            self._heights[key] = block.header.height
            records.append((key, encode(block)))
        self._journal.save(records)
        self._stale = []

    def load(self, *, epoch: int, above: int) -> Saved:
        """What was saved for ``epoch``, bodies with a height above ``above``."""
        certificates: list[Certificate] = []
        blocks: list[tuple[bytes, Block]] = []
        for key, value in sorted(self._journal.load()):
            if key[:1] == _CERTIFICATE:
                certificate = decode(Certificate, value, limit=_MAX_RECORD)
                self._certificates[key] = (certificate.epoch, certificate.view)
                if certificate.epoch == epoch:
                    certificates.append(certificate)
            else:
                block = decode(Block, value, limit=_MAX_RECORD)
                self._heights[key] = block.header.height
                if block.header.epoch == epoch and block.header.height > above:
                    blocks.append((key[1:], block))
        return Saved(tuple(certificates), tuple(blocks))

    def finalized(self, *, epoch: int, view: int, height: int) -> None:
        """Everything up to this view and height is final; what was saved of it may go."""
        old = [key for key, at in self._certificates.items() if at <= (epoch, view)]
        old += [key for key, at in self._heights.items() if at <= height]
        for key in old:
            self._certificates.pop(key, None)
            self._heights.pop(key, None)
        self._stale += old


def _certificate_key(certificate: Certificate) -> bytes:
    at = certificate.epoch.to_bytes(8, "big") + certificate.view.to_bytes(8, "big")
    return _CERTIFICATE + at + bytes([certificate.kind])
