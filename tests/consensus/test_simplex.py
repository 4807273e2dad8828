"""The rules S1 to S8, one by one, on a machine whose every event the test chooses."""

import itertools

import pytest

from chain.types.statement import NOTHING, Kind, Statement
from consensus.messages import Proposal
from consensus.simplex import effects, events
from consensus.simplex.events import Timer
from consensus.simplex.tree import SafetyViolation
from tests.consensus.bench import KEYS, PEER, Bench, certificate, seen, vote

N, X, F = Kind.NOTARIZE, Kind.NULLIFY, Kind.FINALIZE


def test_s1_entering_a_view_starts_its_timers() -> None:
    bench = Bench().start()
    assert bench.timers == {Timer.PROPOSAL: (0, 2500), Timer.CERTIFICATE: (0, 3500), Timer.RESEND: (0, 4500)}


def test_s1_a_leader_silent_for_two_views_is_not_waited_for() -> None:
    # Validator 2 leads view 3 and is in none of the certificates before.
    bench = Bench(leaders=(0, 1, 0, 2)).start()
    for view in range(3):
        bench.give(events.CertificateSeen(PEER, certificate(X, view, None, voters=(0, 1, 3))))
    assert bench.timers[Timer.PROPOSAL] == (3, 0)
    assert bench.timers[Timer.CERTIFICATE] == (3, 3500)


def test_s1_any_signature_ends_the_silence() -> None:
    bench = Bench(leaders=(0, 1, 0, 2)).start()
    for view in range(3):
        bench.give(events.CertificateSeen(PEER, certificate(X, view, None, voters=(0, 1, 3))))
        bench.votes(X, view, None, 2)
    assert bench.timers[Timer.PROPOSAL] == (3, 2500)


def test_s1_views_that_we_did_not_follow_prove_no_silence() -> None:
    bench = Bench(leaders=(0, 1, 0, 2)).start()
    bench.give(events.CertificateSeen(PEER, certificate(X, 2, None, voters=(0, 1, 3))))
    assert bench.timers[Timer.PROPOSAL] == (3, 2500)


def test_s1_delays_double_after_four_fruitless_views_and_recover() -> None:
    bench = Bench(leaders=(0, 1, 2, 0, 1, 0)).start()
    for view in range(4):
        bench.certificate(X, view)
    assert bench.timers[Timer.CERTIFICATE] == (4, 500 + 3 * 2000)
    block = bench.block(4)
    bench.proposal(4, block).certificate(N, 4, block)
    assert bench.timers[Timer.CERTIFICATE] == (5, 3500)


def test_s2_the_first_leader_builds_on_the_final_block() -> None:
    bench = Bench(me=0).start()
    assert [(b.view, b.parent_digest) for b in bench.builds] == [(0, bench.base.digest)]
    block = bench.block(0)
    bench.give(events.Built(0, 0, block, block.digest))
    assert bench.said == [Proposal(0, 0, block, bytes(64)), vote(0, N, 0, block.digest)]


def test_s2_the_parent_is_the_highest_notarized_block_above_which_all_is_nullified() -> None:
    bench = Bench(me=2, leaders=(0, 1, 0, 2)).start()
    block = bench.block(0)
    bench.proposal(0, block).certificate(N, 0, block).certificate(X, 1).certificate(X, 2)
    assert [(b.view, b.parent_digest) for b in bench.builds] == [(3, block.digest)]


def test_s2_a_gap_is_fetched_before_anything_is_built() -> None:
    bench = Bench(me=2, leaders=(0, 1, 0, 2)).start()
    bench.certificate(X, 2)
    assert bench.builds == []
    assert [(f.first_view, f.end_view) for f in bench.fetches] == [(1, 2)]
    bench.certificate(X, 1).certificate(X, 0)
    assert [(b.view, b.parent_digest) for b in bench.builds] == [(3, bench.base.digest)]


def test_s2_a_notarized_block_without_body_is_fetched_from_those_who_signed_it() -> None:
    bench = Bench(me=1).start()
    block = bench.block(0)
    bench.certificate(N, 0, block)
    assert bench.builds == []
    assert bench.fetches[0].digests == (block.digest,)
    assert bench.fetches[0].holders == tuple(KEYS[i].public_key for i in (0, 1, 2))
    bench.give(events.BlockFetched(block, block.digest))
    assert [(b.view, b.parent_digest) for b in bench.builds] == [(1, block.digest)]


def test_s2_one_proposal_a_view_and_the_same_again_after_a_restart() -> None:
    bench = Bench(me=0).start()
    block = bench.block(0)
    mine = Proposal(0, 0, block, bytes(64))
    again = Bench(me=0).start(proposals=((block.digest, mine),))
    assert again.builds == []
    assert mine in again.said


def test_s2_a_block_that_was_built_too_late_is_not_proposed() -> None:
    bench = Bench(me=0).start()
    block = bench.block(0)
    bench.certificate(X, 0).give(events.Built(0, 0, block, block.digest))
    assert not any(isinstance(message, Proposal) for message in bench.said)


def test_s3_the_first_proposal_gets_the_vote_and_its_body_is_kept_first() -> None:
    bench = Bench().start()
    block = bench.block(0)
    bench.proposal(0, block)
    assert bench.signed == [Statement(N, 0, 0, block.digest)]
    assert bench.saved == [block.digest]
    assert bench.kinds.index(effects.Save) < bench.kinds.index(effects.Sign)


def test_s3_a_second_proposal_is_evidence_and_gets_no_vote() -> None:
    bench = Bench().start()
    first, second = bench.block(0), bench.block(0, mark=1)
    bench.proposal(0, first).proposal(0, second).proposal(0, second)
    assert bench.signed == [Statement(N, 0, 0, first.digest)]
    assert [e.signer for e in bench.evidence] == [KEYS[0].public_key]


def test_s3_not_before_the_parent_is_notarized_and_the_rest_nullified() -> None:
    bench = Bench(leaders=(0, 1, 2)).start()
    parent = bench.block(0)
    child = bench.block(2, parent)
    bench.certificate(X, 1).proposal(2, child)
    assert bench.signed == []
    # Whatever the leader named as the parent: its body is worth a question once a quorum vouches for it.
    assert [(f.digests, f.first_view, f.end_view) for f in bench.fetches] == [((), 0, 2)]
    bench.certificate(N, 0, parent)
    assert [f.digests for f in bench.fetches[1:]] == [(parent.digest,)]
    assert not bench.has_signed(N, 2, child)
    bench.give(events.BlockFetched(parent, parent.digest))
    assert bench.has_signed(N, 2, child)


@pytest.mark.parametrize("order", list(itertools.permutations(range(5))))
def test_s3_whatever_arrives_last_the_vote_comes(order: tuple[int, ...]) -> None:
    bench = Bench(leaders=(0, 1, 2)).start()
    parent = bench.block(0)
    child = bench.block(2, parent)
    given = [
        seen(0, parent), seen(2, child), events.CertificateSeen(PEER, certificate(N, 0, parent)),
        events.CertificateSeen(PEER, certificate(X, 1, None)), events.BlockFetched(parent, parent.digest),
    ]  # fmt: skip
    bench.give(*(given[i] for i in order))
    if any(parent.digest in fetch.digests for fetch in bench.fetches):
        # A body that came before anything named it is not kept, and asked for once something does.
        bench.give(given[4])
    assert bench.has_signed(N, 2, child)


def test_s3_a_proposal_that_skips_a_notarized_view_gets_no_vote() -> None:
    bench = Bench(leaders=(0, 1)).start()
    first = bench.block(0)
    bench.proposal(0, first).certificate(N, 0, first)
    bench.proposal(1, bench.block(1))
    assert not any(s.view == 1 for s in bench.signed)
    bench.fire(Timer.CERTIFICATE)
    assert bench.has_signed(X, 1)


def test_s4_an_invalid_proposal_is_nullified_at_once_and_reported() -> None:
    bench = Bench().start()
    block = bench.block(0)
    bench.invalid.add(block.digest)
    bench.proposal(0, block)
    assert bench.signed == [Statement(X, 0, 0, NOTHING)]
    assert bench.reports == ["invalid proposal in view 0: state_root: planted"]


def planted_headers(bench: Bench):
    from dataclasses import replace

    good = bench.block(0)
    yield "a block of epoch 1 in epoch 0", replace(good.header, epoch=1)
    yield "height 9 is not in (0, 8]", replace(good.header, height=9)
    yield "height 0 is not in (0, 8]", replace(good.header, height=0)
    yield "does not lead view 0", replace(good.header, proposer=KEYS[1].public_key)
    yield "a block of view 3 proposed in view 0", replace(good.header, view=3)


@pytest.mark.parametrize("number", range(5))
def test_s4_a_header_that_breaks_a_rule_is_nullified_at_once(number: int) -> None:
    bench = Bench().start()
    message, header = list(planted_headers(bench))[number]
    bench.proposal(0, type(bench.block(0))(header, ()))
    assert bench.signed == [Statement(X, 0, 0, NOTHING)]
    assert message in bench.reports[0]


def test_s4_no_proposal_in_time() -> None:
    bench = Bench().start().fire(Timer.PROPOSAL)
    assert bench.signed == [Statement(X, 0, 0, NOTHING)]
    assert vote(3, X, 0, NOTHING) in bench.said


def test_s4_a_proposal_in_time_but_no_certificate() -> None:
    bench = Bench().start()
    bench.proposal(0, bench.block(0)).fire(Timer.PROPOSAL)
    assert not bench.has_signed(X, 0)
    bench.fire(Timer.CERTIFICATE)
    assert bench.has_signed(X, 0)


def test_s4_a_timer_of_an_older_view_means_nothing() -> None:
    bench = Bench().start().certificate(X, 0)
    bench.give(events.TimerFired(Timer.CERTIFICATE, 0, 0), events.TimerFired(Timer.CERTIFICATE, 1, 1))
    assert bench.signed == []


def test_s4_everything_is_said_again_with_back_off() -> None:
    bench = Bench(leaders=(0, 1)).start()
    block = bench.block(0)
    bench.proposal(0, block).certificate(N, 0, block).fire(Timer.PROPOSAL)
    bench.said.clear()
    delays = []
    for _ in range(4):
        bench.fire(Timer.RESEND)
        delays.append(bench.timers[Timer.RESEND][1])
    assert delays == [9000, 18000, 18000, 18000]
    round_ = [certificate(N, 0, block), vote(3, F, 0, block.digest), vote(3, X, 1, NOTHING)]
    assert bench.said == round_ * 4


def test_s5_a_notarization_is_kept_passed_on_and_finalized_in_this_order() -> None:
    bench = Bench().start()
    block = bench.block(0)
    bench.proposal(0, block)
    bench.kinds.clear()
    bench.votes(N, 0, block, 0, 1)
    assert [k for k in bench.kinds if k in (effects.Save, effects.Sign)] == [effects.Save, effects.Sign]
    assert bench.has_signed(F, 0, block)
    assert certificate(N, 0, block, voters=(0, 1, 3)) in bench.said
    assert bench.simplex.view == 1


def test_s5_no_finalize_after_nullify() -> None:
    bench = Bench().start().fire(Timer.PROPOSAL)
    block = bench.block(0)
    bench.certificate(N, 0, block)
    assert not bench.has_signed(F, 0, block)
    assert bench.simplex.view == 1


def test_s4_no_nullify_after_finalize() -> None:
    bench = Bench().start()
    block = bench.block(0)
    bench.certificate(N, 0, block)
    bench.give(events.TimerFired(Timer.CERTIFICATE, 0, 0))
    assert bench.has_signed(F, 0, block)
    assert not bench.has_signed(X, 0)


def test_s6_a_view_may_end_up_with_both_certificates() -> None:
    """The next leader may build on either; we vote for both kinds of child."""
    for skips in (False, True):
        bench = Bench(leaders=(0, 1)).start()
        block = bench.block(0)
        bench.proposal(0, block).certificate(X, 0).certificate(N, 0, block)
        child = bench.block(1, None if skips else block)
        bench.proposal(1, child)
        assert bench.has_signed(N, 1, child)
        # We never signed nullify(0), so finalize(0) is right although others nullified.
        assert bench.has_signed(F, 0, block)


def test_s7_final_is_the_block_with_all_its_ancestors_in_order() -> None:
    bench = Bench().start()
    first = bench.block(0)
    second = bench.block(1, first)
    bench.proposal(0, first).certificate(N, 0, first).proposal(1, second).certificate(N, 1, second)
    bench.certificate(F, 1, second)
    assert bench.final == [first, second]
    assert bench.simplex.base == second.header
    assert certificate(F, 1, second) in bench.said
    # Older certificates are of no use to anyone now.
    bench.said.clear()
    bench.certificate(F, 0, first).certificate(X, 0)
    assert bench.said == []


def test_s7_a_finalization_waits_for_its_bodies_but_ends_its_view() -> None:
    bench = Bench().start()
    first = bench.block(0)
    second = bench.block(1, first)
    bench.certificate(F, 1, second)
    assert bench.simplex.view == 2
    assert bench.final == []
    assert [f.digests for f in bench.fetches] == [(second.digest,)]
    bench.give(events.BlockFetched(second, second.digest))
    assert [f.digests for f in bench.fetches[1:]] == [(first.digest,)]
    bench.give(events.BlockFetched(first, first.digest))
    assert bench.final == [first, second]


def test_s7_contradicting_finalizations_stop_the_machine() -> None:
    bench = Bench().start()
    first, other = bench.block(0), bench.block(0, mark=1)
    child = bench.block(1, other)
    bench.proposal(0, first).certificate(F, 0, first)
    bench.proposal(1, child)
    with pytest.raises(SafetyViolation, match="conflicts with final"):
        bench.certificate(F, 1, child)


@pytest.mark.parametrize(("first", "second"), [(N, N), (F, F), (N, F), (X, F), (F, X)])
def test_s7_certificates_of_a_view_that_contradict_each_other_stop_the_machine(
    first: Kind, second: Kind
) -> None:
    bench = Bench().start()
    blocks = [bench.block(0), bench.block(0, mark=1)]
    bench.certificate(first, 0, None if first is X else blocks[0])
    with pytest.raises(SafetyViolation, match="view 0 has both"):
        bench.certificate(second, 0, None if second is X else blocks[1])


def test_s8_what_is_still_missing_is_asked_for_again() -> None:
    bench = Bench().start()
    block = bench.block(0)
    bench.certificate(F, 0, block)
    bench.certificate(X, 1)
    bench.fire(Timer.RESEND)
    assert [f.digests for f in bench.fetches] == [(block.digest,)] * 3
