"""What is told of views that are over, what hearsay does to whoever hears it, and what it never does."""

import pytest

from chain.crypto.ed25519 import SecretKey, derive_seed
from chain.msgpack_reader import DecodeError
from chain.types.block import Block
from chain.types.statement import NOTHING, Kind, Statement
from consensus.admission import Admission, Place
from consensus.halting import Halted, HaltReason
from consensus.messages import Hearsay, Vote, Word, decode_message, encode_message, head_of
from consensus.opening import open_epoch
from consensus.signing.signer import Signer
from consensus.signing.signing_guard import create_log
from consensus.simplex import events
from consensus.simplex.protocol import Simplex
from consensus.simplex.rounds import VIEWS_AHEAD
from consensus.simplex.witness import WITNESSED_VIEWS
from consensus.verifier import Lie, Verifier
from tests.consensus.bench import KEYS, PEER, Bench, certificate, vote
from tests.consensus.fakes import CHAIN_ID, ChainTwin, SimDisk, committee_of, params

P, N, X, F = Kind.PROPOSE, Kind.NOTARIZE, Kind.NULLIFY, Kind.FINALIZE


def told(bench: Bench) -> list[Hearsay]:
    return [message for message in bench.said if isinstance(message, Hearsay)]


def words(bench: Bench) -> list[tuple[int, int, Kind, bytes]]:
    """View, validator, kind and digest of everything that was passed on."""
    return [(t.view, w.validator, w.kind, w.digest) for t in told(bench) for w in t.words]


def word(index: int, kind: Kind, digest: bytes) -> Word:
    signature = bytes(64) if kind is P else vote(index, kind, 0, digest).signature
    return Word(index, kind, digest, signature)


def hear(bench: Bench, *said: Word, view: int = 0) -> Bench:
    """What the shell does with hearsay whose signatures hold."""
    hearsay = Hearsay(0, view, said)
    if bench.simplex.knows(PEER, hearsay):
        return bench
    return bench.give(events.HearsaySeen(bench.simplex.news(hearsay)))


def nullify(bench: Bench, *views: int) -> Bench:
    for view in views:
        bench.certificate(X, view)
    return bench


def test_views_that_went_well_are_not_told_of() -> None:
    bench = Bench(leaders=(0, 1, 2, 0, 1, 2)).start()
    parent: Block | None = None
    for view in range(6):
        block = bench.block(view, parent)
        bench.proposal(view, block).votes(N, view, block, 0, 1, 2).votes(F, view, block, 0, 1, 2)
        parent = block
    assert len(bench.final) == 6
    assert told(bench) == []


def test_a_silent_leader_gives_nobody_anything_to_tell() -> None:
    bench = nullify(Bench(leaders=(0, 1, 0, 2)).start(), 0, 1, 2, 3)
    assert told(bench) == []


def test_what_lost_is_told_once_and_two_views_later() -> None:
    bench = Bench(leaders=(0, 1, 0, 2, 0)).start()
    block = bench.block(0)
    bench.proposal(0, block).votes(N, 0, block, 1)
    nullify(bench, 0)
    assert words(bench) == []
    nullify(bench, 1, 2, 3)
    assert words(bench) == [(0, 0, P, block.digest), (0, 1, N, block.digest)]


def test_our_own_votes_are_not_told_again() -> None:
    bench = Bench(leaders=(0, 1, 0, 2)).start()
    block = bench.block(0)
    nullify(bench.proposal(0, block), 0, 1, 2)
    assert bench.has_signed(N, 0, block)
    assert words(bench) == [(0, 0, P, block.digest)]


def test_a_proposal_and_votes_against_the_notarized_block_are_told_when_it_is_final() -> None:
    """The final chain says how a view ended, even where its certificates never came."""
    bench = Bench(leaders=(0, 1, 0, 2)).start()
    first, second = bench.block(0), bench.block(0, mark=1)
    child = bench.block(1, second)
    bench.proposal(0, first).votes(N, 0, first, 1).votes(X, 0, None, 2)
    bench.give(events.BlockFetched(second, second.digest))
    bench.proposal(1, child).certificate(F, 1, child)
    assert bench.final == [second, child]
    assert words(bench) == [(0, 0, P, first.digest), (0, 1, N, first.digest), (0, 2, X, NOTHING)]


def test_of_finalize_and_nullify_exactly_one_is_told() -> None:
    bench = Bench(leaders=(0, 1, 0, 2)).start()
    block = bench.block(0)
    bench.proposal(0, block).certificate(N, 0, block).votes(F, 0, block, 1).votes(X, 0, None, 2)
    bench.give(events.CertificateSeen(PEER, certificate(X, 0, None, voters=(0, 2))))
    nullify(bench, 1, 2)
    assert words(bench) == [(0, 1, F, block.digest)]


def test_how_a_view_ended_must_be_known() -> None:
    bench = Bench(leaders=(0, 1, 0, 2)).start()
    block = bench.block(0)
    bench.proposal(0, block)
    nullify(bench, 2)
    assert words(bench) == []
    nullify(bench, 0, 3)
    assert words(bench) == [(0, 0, P, block.digest)]


def test_observers_tell_nothing() -> None:
    bench = Bench(me=None, leaders=(0, 1, 0, 2)).start()
    nullify(bench.proposal(0, bench.block(0)), 0, 1, 2)
    assert told(bench) == []


def test_views_that_sync_jumped_over_are_not_told_of() -> None:
    bench = Bench(leaders=(0, 1, 0, 2)).start()
    block, synced = bench.block(0), bench.block(2)
    bench.proposal(0, block)
    bench.give(events.Advanced(synced.header, synced.digest, certificate(F, 2, synced)))
    nullify(bench, 3, 4)
    assert told(bench) == []


def test_a_leader_that_makes_two_blocks_is_convicted_by_both_halves() -> None:
    """Half of the honest notarize one, half the other, nobody a quorum: each half tells and convicts."""
    halves = [Bench(me=me, leaders=(0, 1, 0, 2)).start() for me in (1, 3)]
    blocks = [halves[0].block(0), halves[0].block(0, mark=1)]
    for bench, block in zip(halves, blocks, strict=True):
        bench.proposal(0, block)
    # Honest votes reach everybody; the proposals did not.
    halves[0].votes(N, 0, blocks[1], 3)
    halves[1].votes(N, 0, blocks[0], 1)
    for bench in halves:
        nullify(bench, 0, 1)
        assert bench.evidence == []
    for bench, other in (halves, halves[::-1]):
        (hearsay,) = told(bench)
        hear(other, *hearsay.words)
        # Every honest vote was passed on, and convicts nobody.
        assert [evidence.signer for evidence in other.evidence] == [KEYS[0].public_key]


def test_votes_told_to_one_node_alone_meet() -> None:
    liar, fakes = 2, [bytes([mark]) * 32 for mark in (1, 2)]
    nodes = [Bench(me=me, leaders=(0, 1, 0, 2)).start() for me in (1, 3)]
    for bench, fake in zip(nodes, fakes, strict=True):
        bench.give(events.VoteSeen(PEER, vote(liar, N, 0, fake)))
        nullify(bench, 0, 1)
    hear(nodes[1], *told(nodes[0])[0].words)
    assert [evidence.signer for evidence in nodes[1].evidence] == [KEYS[liar].public_key]


def test_what_hearsay_says_is_remembered_and_counted_for_nothing() -> None:
    bench = Bench().start()
    block = bench.block(0)
    bench.proposal(0, block).votes(N, 0, block, 0)
    hear(bench, word(1, N, block.digest), word(2, N, block.digest))
    assert bench.simplex.view == 0
    known = bench.simplex.known_signatures(Statement(N, 0, 0, block.digest))
    assert sorted(index for index, _ in known) == [0, 3]
    bench.votes(N, 0, bench.block(0, mark=1), 2)
    assert [evidence.signer for evidence in bench.evidence] == [KEYS[2].public_key]


def test_hearsay_says_nothing_new_twice() -> None:
    bench = Bench().start()
    said = Hearsay(0, 0, (word(1, N, bytes([1]) * 32),))
    assert not bench.simplex.knows(PEER, said)
    hear(bench, *said.words)
    assert bench.simplex.knows(PEER, said)
    # The convicted are not heard of again.
    hear(bench, word(1, N, bytes([2]) * 32))
    assert [evidence.signer for evidence in bench.evidence] == [KEYS[1].public_key]
    assert bench.simplex.knows(PEER, Hearsay(0, 3, (word(1, X, NOTHING),)))


def test_hearsay_of_far_views_and_other_epochs_is_dropped() -> None:
    bench = Bench().start()
    said = (word(1, X, NOTHING),)
    assert not bench.simplex.knows(PEER, Hearsay(0, VIEWS_AHEAD, said))
    assert bench.simplex.knows(PEER, Hearsay(0, VIEWS_AHEAD + 1, said))
    synced = bench.block(40)
    bench.give(events.Advanced(synced.header, synced.digest, certificate(F, 40, synced)))
    assert bench.simplex.knows(PEER, Hearsay(0, 40 - WITNESSED_VIEWS, said))
    assert not bench.simplex.knows(PEER, Hearsay(0, 41 - WITNESSED_VIEWS, said))
    admission = Admission(3, answer_every_ms=1)
    assert [admission.sort(PEER, head_of(Hearsay(epoch, 0, said)), now_ms=0) for epoch in (2, 3, 4, 5)] == [
        Place.OLD, Place.NOW, Place.OLD, Place.OLD,
    ]  # fmt: skip


def test_the_words_of_hearsay_ascend_one_of_a_kind_and_key() -> None:
    good = Hearsay(1, 2, (word(0, N, bytes([1]) * 32), word(0, X, NOTHING), word(1, P, bytes([1]) * 32)))
    assert decode_message(encode_message(good), limit=1 << 20) == good
    for bad in ((), (good.words[0], good.words[0]), good.words[::-1]):
        with pytest.raises(ValueError, match="hearsay"):
            Hearsay(1, 2, bad)
    data = encode_message(good)
    at = data.index(bytes([1]) * 32)
    with pytest.raises(DecodeError):
        decode_message(data[:at] + bytes(32) + data[at + 32 :], limit=1 << 20)


SECRETS = sorted(
    (SecretKey(derive_seed(bytes(32), "consensus", index)) for index in range(4)),
    key=lambda key: key.public_key,
)


def signed(index: int, statement: Statement) -> Word:
    signature = SECRETS[index].sign(statement.signing_bytes(CHAIN_ID))
    return Word(index, statement.kind, statement.digest, signature)


def scene(me: int | None = None) -> tuple[Simplex, Verifier]:
    """A node at the start of epoch 0, whose signing log holds that it nullified view 0."""
    committee = committee_of(key.public_key for key in SECRETS)
    signer = None
    if me is not None:
        guard = create_log(SimDisk(), chain_id=CHAIN_ID, public_key=SECRETS[me].public_key)
        signer = Signer(SECRETS[me], guard, chain_id=CHAIN_ID, prove=lambda _: bytes(80))
        signer.vote(Statement(X, 0, 0, NOTHING))
    simplex = Simplex(open_epoch(ChainTwin(params(), lambda _: committee), None))
    simplex.step(events.Resumed())
    return simplex, Verifier(CHAIN_ID, signer, now_ms=lambda: 0, max_clock_ahead_ms=0)


def test_hearsay_is_believed_to_the_letter() -> None:
    simplex, verifier = scene()
    statement = Statement(F, 0, 0, bytes([1]) * 32)
    good, other = signed(0, statement), signed(1, statement)
    event = verifier.check(simplex, PEER, Hearsay(0, 0, (good, other)))
    assert isinstance(event, events.HearsaySeen)
    assert [said[:2] for said in event.said] == [
        (SECRETS[0].public_key, statement), (SECRETS[1].public_key, statement),
    ]  # fmt: skip
    with pytest.raises(Lie, match=r"what .* did not sign"):
        verifier.check(simplex, PEER, Hearsay(0, 0, (good, Word(1, F, other.digest, good.signature))))
    with pytest.raises(Lie, match="validators that there are not"):
        verifier.check(simplex, PEER, Hearsay(0, 0, (good, Word(4, F, other.digest, other.signature))))


def test_a_word_of_our_own_key_that_is_not_in_our_log_stops_us() -> None:
    simplex, verifier = scene(me=2)
    assert verifier.check(simplex, PEER, Hearsay(0, 0, (signed(2, Statement(X, 0, 0, NOTHING)),)))
    with pytest.raises(Halted) as caught:
        verifier.check(simplex, PEER, Hearsay(0, 0, (signed(2, Statement(F, 0, 0, bytes([1]) * 32)),)))
    assert caught.value.reason is HaltReason.KEY_IN_USE_ELSEWHERE


def test_a_vote_that_was_hearsay_before_counts() -> None:
    """The same statement, first in hearsay and then as a vote, still counts as a vote."""
    bench = Bench().start()
    block = bench.block(0)
    hear(bench, word(1, N, block.digest))
    message = vote(1, N, 0, block.digest)
    assert isinstance(message, Vote)
    assert not bench.simplex.knows(PEER, message)
