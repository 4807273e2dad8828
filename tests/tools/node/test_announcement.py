"""What listeners are told fits, whatever the chain allows: what does not would stop every node at once."""

from chain.codec import encode
from chain.types.committee import MAX_SEATS, Committee, Validator
from chain.types.statement import Kind
from consensus.messages import Certificate, Seal
from p2p.network import MAX_ANNOUNCEMENT
from tests.consensus.fakes import genesis
from tools.node.announcement import Announcement


def test_the_finalization_of_the_largest_committee_can_be_announced() -> None:
    header = genesis(Committee((Validator(bytes([1]) * 32, bytes(32), 1),)))
    digest = bytes([255]) * 32
    seals = tuple(Seal(place, digest + digest) for place in range(MAX_SEATS))
    certificate = Certificate(Kind.FINALIZE, (1 << 64) - 1, (1 << 64) - 1, digest, seals)
    assert len(encode(Announcement(header, certificate))) <= MAX_ANNOUNCEMENT - 1024
