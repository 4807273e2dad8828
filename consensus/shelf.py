"""S8, the other side: what is here of what somebody misses, handed out encoded and in small steps.

A question of 100 bytes asks for a mebibyte. Final bodies go out as they lie on disk, so that it costs their
reading and no more; of the others, which a leader has just spread and many may miss at once, the encodings
asked for last are kept.

Memory bound: `KEPT_ENCODINGS` bodies.
"""

from collections.abc import Callable, Generator
from typing import Final

from chain.codec import encode
from consensus.ledger import Ledger
from consensus.messages import Certificate
from consensus.simplex.protocol import Simplex
from consensus.sync.batch import array_head
from consensus.sync.requests import CERTIFICATE_BYTES, MAX_CERTIFICATES, FetchRequest

KEPT_ENCODINGS: Final = 4

_BODY_BYTES: Final = 1 << 20
"""No further body is added to an answer of this size: what is not in it is asked for again."""
_SEAL_BYTES: Final = 80
"""More than a seal, or the fields of a certificate, take."""


class Shelf:
    """Bodies by digest and certificates by view, of this node."""

    def __init__(self, ledger: Ledger, instance: Callable[[], Simplex]) -> None:
        """Hand out what lies in the ledger, and in the protocol's running instance."""
        self._ledger = ledger
        self._instance = instance
        self._encoded: dict[bytes, bytes] = {}

    def answer(self, request: FetchRequest) -> Generator[None, None, bytes]:
        """The encoded `FetchResponse`, with a halt after each body and each certificate."""
        bodies: list[bytes] = []
        size = 0
        for digest in dict.fromkeys(request.digests):
            body = self._body(digest)
            if body is not None:
                size += len(body)
                if bodies and size > _BODY_BYTES:
                    break
                bodies.append(body)
            yield
        certificates: list[bytes] = []
        room = CERTIFICATE_BYTES
        for certificate in self._certificates(request):
            room -= _SEAL_BYTES * (len(certificate.signatures) + 1)
            if certificates and room < 0:
                break
            certificates.append(encode(certificate))
            yield
        heads = array_head(2) + array_head(len(bodies))
        return b"".join([heads, *bodies, array_head(len(certificates)), *certificates])

    def _body(self, digest: bytes) -> bytes | None:
        height = self._ledger.height_of(digest)
        if height:
            return self._ledger.encoded_block(height)
        block = self._instance().block(digest) or self._ledger.block(digest)
        if block is None:
            return None
        body = self._encoded.pop(digest, None) or encode(block)
        self._encoded[digest] = body
        if len(self._encoded) > KEPT_ENCODINGS:
            del self._encoded[next(iter(self._encoded))]
        return body

    def _certificates(self, request: FetchRequest) -> list[Certificate]:
        instance = self._instance()
        if request.epoch != instance.epoch or request.first_view >= request.end_view:
            return []
        return list(instance.certificates(request.first_view, request.end_view))[:MAX_CERTIFICATES]
