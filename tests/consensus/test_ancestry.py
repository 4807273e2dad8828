"""What a proposal stands on: when it is fetched, what it must be like, and how much of it is kept."""

from dataclasses import replace

from chain.types.block import Block
from chain.types.statement import Kind
from consensus.simplex import events
from tests.consensus.bench import KEYS, PEER, Bench, certificate

N, X, F = Kind.NOTARIZE, Kind.NULLIFY, Kind.FINALIZE

VIEWS = 200
KEPT = 2 * (8 + 1 + 4)
"""Two proposals of each view from eight back to four ahead."""


def junk(bench: Bench, view: int, *, length: int, height: int = 1 << 63) -> list[Block]:
    """Blocks against the rules, each the parent of the next; the first names a parent that is none."""
    chain: list[Block] = []
    parent = view.to_bytes(32, "big")
    for number in range(length):
        header = replace(
            bench.base, height=height, view=view, parent=parent, proposer=bench.simplex.leader(view),
            timestamp_ms=view * 1000 + number + 1,
        )  # fmt: skip
        chain.append(Block(header, ()))
        parent = chain[-1].digest
    return chain


def on(parent: Block, *, height: int, mark: int = 0) -> Block:
    """A block above ``parent`` whose header alone breaks no rule."""
    header = replace(
        parent.header, height=height, parent=parent.digest, timestamp_ms=parent.header.timestamp_ms + 1 + mark
    )
    return Block(header, ())


def answer(bench: Bench, bodies: list[Block]) -> None:
    """Answer every question for bodies, and those that follow from the answers."""
    known = {block.digest: block for block in bodies}
    while bench.fetches:
        for digest in bench.fetches.pop(0).digests:
            if digest in known:
                bench.give(events.BlockFetched(known[digest], digest))


def kept(bench: Bench, bodies: list[Block]) -> int:
    return sum(bench.simplex.block(block.digest) is not None for block in bodies)


def test_no_ancestor_is_fetched_that_no_certificate_leads_to() -> None:
    bench = Bench().start()
    chain = junk(bench, 0, length=50)
    bench.proposal(0, on(chain[-1], height=5))
    assert all(fetch.digests == () for fetch in bench.fetches)
    answer(bench, chain)
    assert kept(bench, chain) == 0


def test_leaders_that_name_junk_for_many_views_fill_no_memory() -> None:
    bench = Bench().start()
    made: list[Block] = []
    most = 0
    for view in range(VIEWS):
        chain = junk(bench, view, length=20)
        tops = [on(chain[-1], height=5, mark=mark) for mark in range(2)]
        made += [*chain, *tops]
        for top in tops:
            bench.proposal(view, top)
        answer(bench, chain)
        most = max(most, kept(bench, made))
        bench.certificate(X, view)
    assert most <= KEPT


def test_a_height_that_nothing_reaches_keeps_no_body() -> None:
    """Proposals of views that a certificate jumps over are forgotten like all others."""
    bench = Bench().start()
    made: list[Block] = []
    for view in range(0, VIEWS, 20):
        for ahead in range(view, view + 5):
            made += junk(bench, ahead, length=1)
            bench.proposal(ahead, made[-1])
        bench.certificate(X, view + 19)
    assert kept(bench, made) == 0


def test_a_final_block_frees_what_does_not_lead_to_it() -> None:
    bench = Bench(last_height=20).start()
    made = junk(bench, 0, length=1)
    bench.proposal(0, made[0]).certificate(X, 0)
    parent = None
    for view in range(1, 10):
        parent = bench.block(view, parent)
        bench.proposal(view, parent).certificate(N, view, parent).certificate(F, view, parent)
    assert kept(bench, made) == 0
    assert len(bench.final) == 9


def test_what_a_certificate_leads_to_is_kept_for_as_long_as_it_takes() -> None:
    """Two notarized blocks, and then 30 views that bring nothing: whoever builds next builds on them."""
    bench = Bench().start()
    first = bench.block(0)
    second = bench.block(1, first)
    bench.certificate(N, 0, first).certificate(N, 1, second)
    for view in range(2, 32):
        answer(bench, [first, second])
        bench.certificate(X, view)
    assert kept(bench, [first, second]) == 2
    child = bench.block(32, second)
    bench.proposal(32, child)
    assert bench.has_signed(N, 32, child)


def test_who_lacks_both_the_certificate_and_the_bodies_gets_first_the_one_then_the_others() -> None:
    bench = Bench(leaders=(0, 1, 0, 2)).start()
    first = bench.block(0)
    second = bench.block(1, first)
    child = bench.block(3, second)
    bench.certificate(X, 2).proposal(3, child)
    assert [(f.digests, f.first_view, f.end_view) for f in bench.fetches] == [((), 0, 3)]
    assert bench.fetches[0].holders == (KEYS[2].public_key,)
    # The notarization of the parent is enough: it vouches for all that is below it.
    bench.give(events.CertificateSeen(PEER, certificate(N, 1, second)))
    assert bench.fetches[-1].digests == (second.digest,)
    assert bench.fetches[-1].holders == tuple(KEYS[i].public_key for i in (0, 1, 2))
    answer(bench, [first, second])
    assert bench.has_signed(N, 3, child)


def test_a_question_that_got_no_answer_is_asked_again() -> None:
    """First for the certificate, then for the body, whichever of the two answers was lost."""
    bench = Bench(leaders=(0, 1, 2)).start()
    parent = bench.block(0)
    child = bench.block(2, parent)
    bench.certificate(X, 1).proposal(2, child)
    for _ in range(2):
        bench.fetches.clear()
        bench.fire(events.Timer.RESEND)
        assert [(f.first_view, f.end_view) for f in bench.fetches] == [(0, 2)]
    bench.certificate(N, 0, parent)
    for _ in range(2):
        bench.fetches.clear()
        bench.fire(events.Timer.RESEND)
        assert [f.digests for f in bench.fetches] == [(parent.digest,)]
    bench.give(events.BlockFetched(parent, parent.digest))
    assert bench.has_signed(N, 2, child)


def test_a_notarization_of_a_view_that_is_nullified_as_well_is_asked_for() -> None:
    bench = Bench(leaders=(0, 1, 2)).start()
    first = bench.block(0)
    second = bench.block(1, first)
    child = bench.block(2, second)
    bench.proposal(0, first).certificate(N, 0, first).certificate(X, 1).proposal(2, child)
    assert [(f.digests, f.first_view, f.end_view) for f in bench.fetches] == [((), 0, 2)]
    bench.certificate(N, 1, second)
    answer(bench, [second])
    assert bench.has_signed(N, 2, child)


def test_a_gap_far_below_is_asked_for_beside_the_newest_views() -> None:
    bench = Bench().start()
    for view in range(1, 100):
        bench.certificate(X, view)
    bench.fetches.clear()
    child = bench.block(100)
    bench.proposal(100, child)
    assert [(f.first_view, f.end_view) for f in bench.fetches] == [(36, 100), (0, 1)]
    bench.certificate(X, 0)
    assert bench.has_signed(N, 100, child)


def test_a_last_block_proposed_again_needs_its_own_certificate_before_its_ancestors() -> None:
    bench = Bench(leaders=(0, 1, 2), last_height=2).start()
    first = bench.block(0)
    last = bench.block(1, first)
    bench.certificate(N, 0, first)
    bench.fetches.clear()
    # The timer of view 1 fired everywhere; its notarization is known to the next leader only.
    bench.certificate(X, 1).proposal(2, last)
    assert [(f.digests, f.first_view, f.end_view) for f in bench.fetches] == [((), 0, 2)]
    bench.certificate(N, 1, last)
    assert bench.fetches[-1].digests == (first.digest,)
    answer(bench, [first])
    assert bench.has_signed(N, 2, last)


def test_a_height_is_one_above_that_of_the_parent() -> None:
    bench = Bench(leaders=(0, 1)).start()
    parent = bench.block(0)
    bench.proposal(0, parent).certificate(N, 0, parent)
    good = bench.block(1, parent)
    bench.proposal(1, Block(replace(good.header, height=3), ()))
    assert bench.has_signed(X, 1)
    assert bench.reports == ["invalid proposal in view 1: height 3 does not follow height 1"]


def test_a_height_is_one_above_that_of_the_final_block() -> None:
    bench = Bench(leaders=(0, 1)).start()
    bench.proposal(0, Block(replace(bench.block(0).header, height=2), ()))
    assert bench.has_signed(X, 0)
    assert bench.reports == ["invalid proposal in view 0: height 2 does not follow height 0"]
