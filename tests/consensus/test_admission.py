"""Messages that come before their epoch: held, within bounds that no number of peers widens."""

from collections import Counter

from chain.types.statement import Kind
from consensus.admission import HELD_CERTIFICATES, HELD_PEERS, HELD_PER_PEER, Admission, Place
from consensus.messages import Certificate, Seal, Vote
from p2p.network import PeerId

SEALS = (Seal(0, bytes(64)),)


def certificate(view: int) -> Certificate:
    return Certificate(Kind.NOTARIZE, 1, view, bytes([1]) * 32, SEALS)


def vote(view: int) -> Vote:
    return Vote(Kind.NOTARIZE, 1, view, bytes([1]) * 32, bytes(32), bytes(64))


def test_certificates_are_bounded_over_all_peers() -> None:
    admission = Admission(0, answer_every_ms=1)
    for peer in range(20):
        for view in range(HELD_PER_PEER):
            assert admission.sort(PeerId(f"p{peer}"), certificate(view), now_ms=0) is Place.HELD
    assert len(admission.enter(1)) == HELD_CERTIFICATES


def test_the_bound_starts_anew_with_each_epoch() -> None:
    admission = Admission(0, answer_every_ms=1)
    for view in range(HELD_CERTIFICATES + 1):
        admission.sort(PeerId("p"), certificate(view), now_ms=0)
    admission.enter(1)
    admission.enter(0)
    admission.sort(PeerId("p"), certificate(0), now_ms=0)
    assert admission.enter(1) == [(PeerId("p"), certificate(0))]


def test_certificates_take_no_room_from_votes_of_others() -> None:
    admission = Admission(0, answer_every_ms=1)
    for view in range(HELD_PER_PEER):
        admission.sort(PeerId("loud"), certificate(view), now_ms=0)
    admission.sort(PeerId("calm"), vote(0), now_ms=0)
    assert (PeerId("calm"), vote(0)) in admission.enter(1)


def test_messages_and_peers_are_bounded() -> None:
    admission = Admission(0, answer_every_ms=1)
    for peer in range(HELD_PEERS + 1):
        for view in range(HELD_PER_PEER + 1):
            admission.sort(PeerId(f"p{peer}"), vote(view), now_ms=0)
    held = Counter(origin for origin, _ in admission.enter(1))
    assert len(held) == HELD_PEERS
    assert set(held.values()) == {HELD_PER_PEER}
