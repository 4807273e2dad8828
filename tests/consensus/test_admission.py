"""Messages that come before their epoch: held, within bounds that no number of peers widens."""

from collections import Counter

from chain.types.statement import Kind
from consensus.admission import HELD_CERTIFICATES, HELD_PEERS, HELD_PER_PEER, HELD_PROPOSALS, Admission, Place
from consensus.messages import Certificate, Proposal, Seal, Vote, head_of
from p2p.network import PeerId
from tests.consensus.test_messages import BLOCK

SEALS = (Seal(0, bytes(64)),)


def certificate(view: int) -> Certificate:
    return Certificate(Kind.NOTARIZE, 1, view, bytes([1]) * 32, SEALS)


def vote(view: int) -> Vote:
    return Vote(Kind.NOTARIZE, 1, view, bytes([1]) * 32, bytes(32), bytes(64))


def take(admission: Admission, peer: str, message: Certificate | Vote) -> None:
    if admission.sort(PeerId(peer), head_of(message), now_ms=0) is Place.HELD:
        admission.hold(PeerId(peer), message)


def test_certificates_are_bounded_over_all_peers() -> None:
    admission = Admission(0, answer_every_ms=1)
    for peer in range(20):
        for view in range(HELD_PER_PEER):
            take(admission, f"p{peer}", certificate(view))
    assert len(admission.enter(1)) == HELD_CERTIFICATES


def test_the_bound_starts_anew_with_each_epoch() -> None:
    admission = Admission(0, answer_every_ms=1)
    for view in range(HELD_CERTIFICATES + 1):
        take(admission, "p", certificate(view))
    admission.enter(1)
    admission.enter(0)
    take(admission, "p", certificate(0))
    assert admission.enter(1) == [(PeerId("p"), certificate(0))]


def test_certificates_take_no_room_from_votes_of_others() -> None:
    admission = Admission(0, answer_every_ms=1)
    for view in range(HELD_PER_PEER):
        take(admission, "loud", certificate(view))
    take(admission, "calm", vote(0))
    assert (PeerId("calm"), vote(0)) in admission.enter(1)


def test_messages_and_peers_are_bounded() -> None:
    admission = Admission(0, answer_every_ms=1)
    for peer in range(HELD_PEERS + 1):
        for view in range(HELD_PER_PEER + 1):
            take(admission, f"p{peer}", vote(view))
    held = Counter(origin for origin, _ in admission.enter(1))
    assert len(held) == HELD_PEERS
    assert set(held.values()) == {HELD_PER_PEER}


def test_what_finds_no_room_is_not_worth_decoding() -> None:
    """Its head alone says so; whoever sends it is ahead of us all the same."""
    admission = Admission(0, answer_every_ms=1)
    places = []
    for number in range(HELD_PROPOSALS + 1):
        proposal = Proposal(1, number, BLOCK, bytes(64))
        places.append(admission.sort(PeerId(f"p{number}"), head_of(proposal), now_ms=0))
        if places[-1] is Place.HELD:
            admission.hold(PeerId(f"p{number}"), proposal)
    assert places == [Place.HELD] * HELD_PROPOSALS + [Place.AHEAD]
