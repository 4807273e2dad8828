"""What lies around the rules: traitors, bounds on memory, helping others, ends of epochs, restarts."""

import itertools

import pytest

from chain.types.statement import NOTHING, Kind, Statement
from consensus.messages import Proposal
from consensus.simplex import events
from consensus.simplex.events import Timer
from consensus.simplex.tree import SafetyViolation
from p2p.network import PeerId
from tests.consensus.bench import KEYS, PEER, Bench, certificate, seen, vote

N, X, F = Kind.NOTARIZE, Kind.NULLIFY, Kind.FINALIZE


def test_a_second_vote_of_an_equivocator_may_complete_a_quorum() -> None:
    bench = Bench().start()
    block, other = bench.block(0), bench.block(0, mark=1)
    bench.proposal(0, block).votes(N, 0, other, 0).votes(N, 0, block, 0)
    assert [e.signer for e in bench.evidence] == [KEYS[0].public_key]
    bench.votes(N, 0, block, 1)
    assert bench.simplex.view == 1


def test_a_third_vote_of_an_equivocator_is_dropped() -> None:
    bench = Bench().start()
    blocks = [bench.block(0, mark=mark) for mark in range(3)]
    for block in blocks:
        bench.votes(N, 0, block, 0)
    assert [bench.simplex.known_signatures(Statement(N, 0, 0, b.digest)) != () for b in blocks] == [
        True,
        True,
        False,
    ]


def test_finalize_and_nullify_of_one_validator_are_evidence() -> None:
    bench = Bench().start()
    block = bench.block(0)
    bench.votes(X, 0, None, 1).votes(F, 0, block, 1)
    assert [(e.first.kind, e.second.kind) for e in bench.evidence] == [(X, F)]


@pytest.mark.parametrize(
    ("first", "second"), [((N, 0), (N, 1)), ((F, 0), (F, 1)), ((X, None), (F, 0)), ((F, 0), (X, None))]
)
def test_certificates_that_fork_name_all_who_signed_both(first, second) -> None:
    """Two quorums share more than a third of the seats: all of it is named, and nobody else."""
    bench = Bench().start()
    blocks = [bench.block(0, mark=mark) for mark in range(2)]

    def made(kind: Kind, number: int | None, *voters: int) -> events.CertificateSeen:
        named = None if number is None else blocks[number]
        return events.CertificateSeen(PEER, certificate(kind, 0, named, voters))

    bench.give(made(*first, 0, 1, 2))
    assert bench.evidence == []
    with pytest.raises(SafetyViolation) as caught:
        bench.give(made(*second, 1, 2, 3))
    assert [e.signer for e in caught.value.evidence] == [KEYS[1].public_key, KEYS[2].public_key]
    assert 3 * len(caught.value.evidence) >= len(KEYS)


def test_a_certificate_of_others_convicts_after_its_view_is_final() -> None:
    """Validator 3 told us to nullify and the others to finalize; our own certificate is without it."""
    bench = Bench().start()
    block = bench.block(0)
    bench.proposal(0, block).votes(X, 0, None, 3).certificate(F, 0, block)
    late = certificate(F, 0, block, (1, 2, 3))
    assert not bench.simplex.knows(PEER, late)
    bench.give(events.CertificateSeen(PEER, late))
    assert [e.signer for e in bench.evidence] == [KEYS[3].public_key]
    # Once is enough: nothing of it is worth verifying any more.
    assert bench.simplex.knows(PEER, late)


def test_votes_far_ahead_and_of_strangers_leave_no_trace() -> None:
    bench = Bench().start()
    bench.votes(X, 17, None, 0)
    assert bench.simplex.known_signatures(Statement(X, 0, 17, NOTHING)) == ()
    stranger = vote(0, X, 0, NOTHING)
    bench.give(events.VoteSeen(PEER, type(stranger)(X, 0, 0, NOTHING, bytes(32), bytes(64))))
    assert bench.simplex.known_signatures(Statement(X, 0, 0, NOTHING)) == ()


def test_proposals_are_taken_a_few_views_ahead_only() -> None:
    bench = Bench(leaders=(0, 1)).start()
    near, far = bench.block(4), bench.block(5)
    bench.proposal(4, near).proposal(5, far)
    assert bench.simplex.block(near.digest) == near
    assert bench.simplex.block(far.digest) is None


def test_bodies_that_nobody_named_are_forgotten() -> None:
    bench = Bench(leaders=(0, 1)).start()
    blocks = [bench.block(0, mark=mark) for mark in range(2)]
    bench.proposal(0, blocks[0]).proposal(0, blocks[1])
    for view in range(9):
        bench.certificate(X, view)
    # We voted for the first, so somebody may need it from us; the second is gone.
    assert [bench.simplex.block(b.digest) is None for b in blocks] == [False, True]


def test_what_is_known_is_not_verified_again() -> None:
    bench = Bench().start()
    block = bench.block(0)
    knows = bench.simplex.knows
    early = vote(0, N, 0, block.digest)
    assert not knows(PEER, early)
    bench.give(events.VoteSeen(PEER, early)).proposal(0, block)
    assert knows(PEER, early)
    assert knows(PEER, seen(0, block).proposal)
    bench.certificate(N, 0, block)
    assert knows(PEER, certificate(N, 0, block))
    assert not knows(PEER, certificate(X, 0, None))
    # The view is over: its vote repeated asks for help, once.
    assert not knows(PEER, early)
    bench.give(events.VoteSeen(PEER, early))
    assert knows(PEER, early)
    assert not knows(PeerId("another"), early)


def test_a_vote_too_late_to_be_counted_is_verified_once() -> None:
    bench = Bench().start()
    block = bench.block(0)
    bench.proposal(0, block).certificate(F, 0, block)
    knows, late = bench.simplex.knows, vote(2, N, 0, block.digest)
    assert not knows(PEER, late)
    bench.give(events.VoteSeen(PEER, late))
    # Nobody is helped for it, so it is no news from anybody else either.
    assert knows(PEER, late)
    assert knows(PeerId("another"), late)
    assert bench.sent == []


def test_a_leader_whose_votes_come_after_those_of_a_quorum_is_waited_for() -> None:
    bench = Bench(me=0, leaders=(0, 1, 0, 1, 3)).start()
    parent = None
    for view in range(4):
        parent = bench.block(view, parent)
        bench.proposal(view, parent).certificate(F, view, parent)
        bench.votes(N, view, parent, 3)
    assert bench.timers[Timer.PROPOSAL] == (4, 2500)


def test_a_peer_stuck_in_a_view_that_is_over_is_helped_once() -> None:
    bench = Bench().start()
    for view in range(3):
        bench.certificate(X, view)
    for _ in range(3):
        bench.votes(X, 0, None, 1)
    assert bench.sent == [certificate(X, 2, None)]


def test_a_peer_behind_a_final_block_gets_the_finalization() -> None:
    bench = Bench().start()
    block = bench.block(0)
    bench.proposal(0, block).certificate(F, 0, block).certificate(X, 1)
    bench.votes(X, 0, None, 1)
    assert bench.sent == [certificate(F, 0, block), certificate(X, 1, None)]


def test_a_peer_that_joins_is_told_everything() -> None:
    bench = Bench().start().certificate(X, 0).fire(Timer.PROPOSAL)
    bench.give(events.PeerJoined(PEER))
    assert bench.sent == [certificate(X, 0, None), vote(3, X, 1, NOTHING)]


def test_an_observer_follows_and_never_signs() -> None:
    bench = Bench(me=None).start()
    block = bench.block(0)
    bench.proposal(0, block).votes(N, 0, block, 0, 1, 2).votes(F, 0, block, 0, 1, 2)
    assert bench.final == [block]
    assert bench.signed == []
    assert Timer.PROPOSAL not in bench.timers
    assert bench.saved == []


def test_the_last_block_of_an_epoch_is_proposed_again_until_it_is_final() -> None:
    bench = Bench(me=2, leaders=(0, 1, 2), last_height=1).start()
    last = bench.block(0)
    bench.proposal(0, last).certificate(N, 0, last)
    bench.proposal(1, last)
    assert bench.has_signed(N, 1, last)
    bench.certificate(N, 1, last)
    assert Proposal(0, 2, last, bytes(64)) in bench.said
    assert bench.has_signed(N, 2, last)
    bench.certificate(N, 2, last).certificate(F, 2, last)
    assert bench.final == [last]
    assert bench.simplex.done
    assert bench.simplex.step(events.PeerJoined(PEER)) == []


def test_nothing_is_built_on_the_last_block_of_an_epoch() -> None:
    bench = Bench(leaders=(0, 1), last_height=1).start()
    last = bench.block(0)
    bench.proposal(0, last).certificate(N, 0, last)
    bench.proposal(1, bench.block(1, last))
    assert bench.reports == ["invalid proposal in view 1: height 2 is not in (0, 1]"]


def test_only_the_last_block_may_be_proposed_again() -> None:
    bench = Bench(leaders=(0, 1)).start()
    block = bench.block(0)
    bench.proposal(0, block).certificate(N, 0, block).proposal(1, block)
    assert bench.reports == ["invalid proposal in view 1: a block of view 0 proposed in view 1"]


def test_sync_moves_the_machine_within_the_epoch() -> None:
    bench = Bench().start()
    first = bench.block(0)
    made = certificate(F, 5, first)
    bench.give(events.Advanced(first.header, first.digest, made))
    assert bench.simplex.view == 6
    assert bench.simplex.base == first.header
    bench.give(events.Advanced(first.header, first.digest, made))
    assert bench.simplex.view == 6


def test_a_restart_takes_up_where_the_log_and_the_journal_left_off() -> None:
    bench = Bench(leaders=(0, 1)).start()
    block = bench.block(0)
    survived = {
        "certificates": (certificate(N, 0, block),),
        "blocks": ((block.digest, block),),
        "votes": (vote(3, N, 0, block.digest), vote(3, X, 1, NOTHING)),
    }
    again = Bench(leaders=(0, 1)).start(**survived)
    assert again.simplex.view == 1
    # Finalize was not in the log yet and may be signed now; nullify(1) is not signed a second time.
    assert again.signed == [Statement(F, 0, 0, block.digest)]
    again.fire(Timer.PROPOSAL)
    assert again.signed == [Statement(F, 0, 0, block.digest)]
    assert vote(3, X, 1, NOTHING) in again.said


def test_all_orders_of_a_view_with_a_two_faced_leader() -> None:
    """5,040 orders: no contradiction is ever signed, and the view always ends."""
    bench = Bench(leaders=(0, 1))
    block, other = bench.block(0), bench.block(0, mark=1)
    given = [
        seen(0, block),
        seen(0, other),
        events.VoteSeen(PEER, vote(0, N, 0, block.digest)),
        events.VoteSeen(PEER, vote(1, N, 0, block.digest)),
        events.VoteSeen(PEER, vote(0, X, 0, NOTHING)),
        events.VoteSeen(PEER, vote(1, X, 0, NOTHING)),
        events.TimerFired(Timer.CERTIFICATE, 0, 0),
    ]
    outcomes = set()
    for order in itertools.permutations(range(7)):
        bench = Bench(leaders=(0, 1)).start().give(*(given[i] for i in order))
        votes_first, votes_other = bench.has_signed(N, 0, block), bench.has_signed(N, 0, other)
        nullified, finalized = bench.has_signed(X, 0), bench.has_signed(F, 0, block)
        outcomes.add((votes_first, votes_other, nullified, finalized))
        # The bench itself asserts that no two statements exclude each other.
        assert not (votes_first and order.index(1) < order.index(0)), order
        assert bench.simplex.view == 1, order
    assert outcomes == {
        (True, False, False, True),  # the first proposal's votes come before the timer
        (True, False, True, False),  # the timer comes in between
        (False, True, True, False),  # the second face was seen first: only the nullification can form
        (False, False, True, False),  # the timer and two nullify come before any proposal
    }
