"""Evidence on the ledger: what convicts, what it costs, what does not hold, and that honest keys are safe."""

from dataclasses import replace
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chain.codec import DecodeError, decode, encode
from chain.execution import queries
from chain.execution.evidence import evidence_ends, oldest_epoch
from chain.execution.invalid import BlockReason, InvalidBlock
from chain.execution.records import MinerStatus
from chain.reasons import Reason
from chain.types.evidence import Evidence, evidence_of
from chain.types.statement import NOTHING, Kind, Statement, excludes
from chain.types.transaction import (
    RegisterMiner,
    ReportEquivocation,
    SignedTransaction,
    Unregister,
    report_of,
)
from tests.chain.execution.world import PARAMS, World, key, possession

A, B = b"\xaa" * 32, b"\xbb" * 32
KINDS = [
    (Kind.PROPOSE, Kind.PROPOSE),
    (Kind.NOTARIZE, Kind.NOTARIZE),
    (Kind.FINALIZE, Kind.FINALIZE),
    (Kind.NULLIFY, Kind.FINALIZE),
]
ALICE = "alice/consensus"


def says(kind: Kind, digest: bytes = A, *, epoch: int = 0, view: int = 3) -> Statement:
    return Statement(kind, epoch, view, NOTHING if kind is Kind.NULLIFY else digest)


def signed(name: str, statement: Statement, *, chain_id: str = PARAMS.chain_id) -> tuple[Statement, bytes]:
    return statement, key(name).sign(statement.signing_bytes(chain_id))


def against(
    name: str, kinds: tuple[Kind, Kind] = KINDS[1], *, epoch: int = 0, chain_id: str = PARAMS.chain_id
) -> Evidence:
    """Two statements that the key really signed."""
    evidence = evidence_of(
        key(name).public_key,
        signed(name, says(kinds[0], A, epoch=epoch), chain_id=chain_id),
        signed(name, says(kinds[1], B, epoch=epoch), chain_id=chain_id),
    )
    assert evidence is not None
    return evidence


def report(evidence: Evidence) -> SignedTransaction:
    return report_of(evidence, chain_id=PARAMS.chain_id)


def seated(**changes) -> World:
    """A chain on which alice earned seats of epoch 1, next to bob, and epoch 1 has begun."""
    world = World(params=replace(PARAMS, **changes))
    for name in ("alice", "bob"):
        world.register(name)
    for name in ("alice", "bob"):
        work = world.work(name)
        commit = world.commit(work)
        at = world.height
        world.until(at + PARAMS.beacon_delay)
        world.prove(work, commit, committed_at=at)
    world.until(PARAMS.last_height(0))
    committee = queries.committee(world.state, 1)
    assert committee is not None
    assert committee.seats_of(key(ALICE).public_key) > 0
    return world


def refused(world: World, transaction: SignedTransaction) -> Reason:
    """Why no block may carry the transaction."""
    with pytest.raises(InvalidBlock) as caught:
        world.block(transaction)
    assert caught.value.reason is BlockReason.BAD_TRANSACTION
    assert caught.value.cause is not None
    return caught.value.cause


@pytest.mark.parametrize("kinds", KINDS, ids=lambda kinds: "+".join(kind.name for kind in kinds))
def test_every_kind_of_contradiction_burns_the_bond_and_ends_the_seats(kinds: tuple[Kind, Kind]) -> None:
    world = seated()
    burned = queries.supply(world.state).burned
    transaction = report(against(ALICE, kinds, epoch=1))
    world.block(transaction)

    receipt = world.receipt
    assert (receipt.reason, receipt.fee) == (Reason.OK, 0)
    assert [event.reason for event in receipt.events] == [Reason.KEY_CONVICTED, Reason.MINER_EQUIVOCATED]
    assert receipt.events[1].amount == 2_000
    miner = world.miner("alice")
    assert miner is not None
    assert (miner.bond, miner.status) == (0, MinerStatus.SLASHED)
    assert queries.supply(world.state).burned == burned + 2_000
    conviction = queries.conviction(world.state, key(ALICE).public_key)
    assert conviction is not None
    assert (conviction.height, conviction.epoch, conviction.view) == (world.height, 1, 3)
    assert (conviction.report, conviction.burned) == (transaction.id, 2_000)
    assert queries.weight(world.state, key(ALICE).public_key).epochs == ()

    # It still votes in its epoch, and in none after.
    assert queries.committee(world.state, 1).seats_of(key(ALICE).public_key) > 0
    world.until(PARAMS.last_height(1))
    assert queries.committee(world.state, 2).seats_of(key(ALICE).public_key) == 0
    assert queries.committee(world.state, 2).seats_of(key("bob/consensus").public_key) == 8


def test_a_key_is_convicted_once_whatever_else_it_signed() -> None:
    world = seated()
    first, second = (report(against(ALICE, kinds, epoch=1)) for kinds in KINDS[:2])
    with pytest.raises(InvalidBlock) as caught:
        world.block(first, second)
    assert caught.value.cause is Reason.ALREADY_CONVICTED
    world.block(first)
    assert refused(world, second) is Reason.ALREADY_CONVICTED
    assert refused(world, first) is Reason.ALREADY_CONVICTED


def test_a_convicted_key_never_registers_again_and_its_miner_may_with_another() -> None:
    world = seated()
    world.block(report(against(ALICE, epoch=1)))
    assert world.register("alice").reason is Reason.CONSENSUS_KEY_CONVICTED
    for name in ("alice", "carol"):
        other = RegisterMiner(
            key(ALICE).public_key, possession(key(name), key(ALICE)), 1_000, world.miner("alice").models
        )
        assert world.do(name, other).reason is Reason.CONSENSUS_KEY_CONVICTED
    fresh = key("alice/fresh")
    again = RegisterMiner(fresh.public_key, possession(key("alice"), fresh), 1_000, ())
    assert world.do("alice", again).reason is Reason.OK
    # What the old key signed does not touch the new bond.
    assert refused(world, report(against(ALICE, KINDS[3], epoch=1))) is Reason.ALREADY_CONVICTED
    assert world.miner("alice").bond == 1_000


def test_a_genesis_validator_without_a_bond_loses_its_seats() -> None:
    world = World()
    others = replace(world.committee.validators[0], consensus_key=key("second").public_key)
    committee = type(world.committee)(
        tuple(sorted((world.committee.validators[0], others), key=lambda v: v.consensus_key))
    )
    world.state = _with_committee(world, committee)
    world.block(report(against("second")))
    assert [event.reason for event in world.receipt.events] == [Reason.KEY_CONVICTED]
    world.until(PARAMS.last_height(0))
    assert queries.committee(world.state, 1).seats_of(key("second").public_key) == 0


def test_genesis_epochs_do_not_keep_a_convicted_validator() -> None:
    world = World(params=replace(PARAMS, genesis_epochs=5))
    others = replace(world.committee.validators[0], consensus_key=key("second").public_key)
    committee = type(world.committee)(
        tuple(sorted((world.committee.validators[0], others), key=lambda v: v.consensus_key))
    )
    world.state = _with_committee(world, committee)
    world.block(report(against("second")))
    world.until(PARAMS.last_height(0))
    assert world.events()[-1].reason is Reason.COMMITTEE_FROM_GENESIS
    assert queries.committee(world.state, 1).seats_of(key("second").public_key) == 0


def test_the_last_validator_stays_or_the_chain_would_stand_still() -> None:
    world = World()
    world.block(report(against("validator")))
    world.until(PARAMS.last_height(0))
    assert queries.committee(world.state, 1) == world.committee


def _with_committee(world: World, committee):
    from chain.execution import state_keys

    return world.state.updated({state_keys.committee(0): encode(committee)})


def _stranger() -> SignedTransaction:
    return report(against("carol", epoch=1))


def _unsigned() -> SignedTransaction:
    return report(replace(against(ALICE, epoch=1), second_signature=bytes(64)))


def _one_signature_twice() -> SignedTransaction:
    evidence = against(ALICE, epoch=1)
    return report(replace(evidence, second_signature=evidence.first_signature))


def _of_another_chain() -> SignedTransaction:
    return report(against(ALICE, epoch=1, chain_id="other"))


def _for_another_chain() -> SignedTransaction:
    return report_of(against(ALICE, epoch=1), chain_id="other")


def _of_the_future() -> SignedTransaction:
    return report(against(ALICE, epoch=2))


def _with(**fields) -> SignedTransaction:
    plain = report(against(ALICE, epoch=1))
    return replace(plain, transaction=replace(plain.transaction, **fields))


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        (_stranger, Reason.EVIDENCE_NO_SEATS),
        (_unsigned, Reason.EVIDENCE_UNSIGNED),
        (_one_signature_twice, Reason.EVIDENCE_UNSIGNED),
        (_of_another_chain, Reason.EVIDENCE_UNSIGNED),
        (_for_another_chain, Reason.WRONG_CHAIN),
        (_of_the_future, Reason.EVIDENCE_WRONG_EPOCH),
        (lambda: _with(sender=key("bob").public_key), Reason.REPORT_NOT_PLAIN),
        (lambda: _with(nonce=1), Reason.REPORT_NOT_PLAIN),
        (lambda: _with(tip=1), Reason.REPORT_NOT_PLAIN),
        (lambda: _with(max_base_fee=1), Reason.REPORT_NOT_PLAIN),
        (
            lambda: replace(report(against(ALICE, epoch=1)), signature=b"\1" + bytes(63)),
            Reason.REPORT_NOT_PLAIN,
        ),
    ],
)
def test_a_report_that_does_not_hold_makes_the_block_invalid(made, reason: Reason) -> None:
    world = seated()
    before = world.state.root
    assert refused(world, made()) is reason
    assert world.state.root == before


def test_evidence_has_one_form_alone() -> None:
    transaction = report(against(ALICE))
    data = encode(transaction)
    assert decode(SignedTransaction, data, limit=1 << 12) == transaction
    evidence = against(ALICE)
    first, second = encode(evidence.first), encode(evidence.second)
    swapped = data.replace(first, b"?" * len(first)).replace(second, first).replace(b"?" * len(first), second)
    with pytest.raises(DecodeError, match="comes after"):
        decode(SignedTransaction, swapped, limit=1 << 12)
    with pytest.raises(DecodeError, match="may both be signed"):
        decode(SignedTransaction, data.replace(second, first), limit=1 << 12)


def test_evidence_counts_exactly_as_long_as_bonds_are_locked() -> None:
    world = seated()
    ends = evidence_ends(1, params=PARAMS)
    assert ends == PARAMS.last_height(1) + PARAMS.unbonding_blocks
    world.until(PARAMS.last_height(1) - 1)
    world.do("alice", Unregister())
    assert world.miner("alice").unbonds_at == ends + 1
    world.until(ends - 1)
    saved = world.state, list(world.executions)
    world.block(report(against(ALICE, epoch=1)))
    assert world.receipt.events[1].amount == 2_000
    assert world.miner("alice").bond == 0

    world.state, world.executions = saved
    world.until(ends)
    assert refused(world, report(against(ALICE, epoch=1))) is Reason.EVIDENCE_WRONG_EPOCH
    world.block()
    assert world.miner("alice") is None
    assert world.reasons(key("alice").public_key)[-1] is Reason.BOND_RETURNED


def test_a_genesis_validator_that_leaves_is_held_as_long_as_it_sits() -> None:
    world = World(params=replace(PARAMS, genesis_epochs=3))
    consensus = key("validator")
    body = RegisterMiner(consensus.public_key, possession(key("alice"), consensus), 2_000, ())
    world.do("alice", body)
    world.do("alice", Unregister())
    assert world.miner("alice").unbonds_at == PARAMS.last_height(2) + PARAMS.unbonding_blocks + 1


@given(
    length=st.integers(1, 9),
    unbonding=st.integers(0, 40),
    genesis=st.integers(0, 3),
    blocks=st.integers(1, 60),
)
@settings(max_examples=40, deadline=None)
def test_the_state_keeps_exactly_the_committees_that_evidence_may_need(
    length: int, unbonding: int, genesis: int, blocks: int
) -> None:
    params = replace(PARAMS, epoch_length=length, unbonding_blocks=unbonding, genesis_epochs=genesis)
    world = World(params=params)
    world.blocks(blocks)
    due = world.height + 1
    oldest = oldest_epoch(due, params=params)
    counting = [e for e in range(params.epoch_of(due) + 1) if due <= evidence_ends(e, params=params)]
    kept = {epoch for epoch in range(80) if queries.committee(world.state, epoch) is not None}
    assert set(counting) <= kept
    # What stopped counting within the epoch goes with the epoch's end.
    begin = params.epoch_of(world.height) * length + 1
    late = {e for e in kept if begin <= evidence_ends(e, params=params)}
    now = params.epoch_of(world.height)
    assert kept <= late | {now - 1, now, params.epoch_of(due)}
    assert not counting or counting[0] == oldest


def test_nobody_can_be_convicted_of_what_excludes_nothing() -> None:
    """Over all pairs of statements of two views and two blocks: the type itself holds only true conflicts."""
    every = [
        says(kind, digest, epoch=epoch, view=view)
        for kind in Kind
        for digest in (A, B)
        for epoch in (0, 1)
        for view in (3, 4)
    ]
    for first, second in combinations(every, 2):
        made = evidence_of(bytes(32), (first, bytes(64)), (second, bytes(64)))
        assert (made is not None) == excludes(first, second)
        if made is None:
            with pytest.raises(ValueError, match="may both be signed"):
                Evidence(bytes(32), first, bytes(64), second, bytes(64))


def test_a_report_is_the_same_bytes_whoever_makes_it() -> None:
    one = signed(ALICE, says(Kind.NOTARIZE, A))
    other = signed(ALICE, says(Kind.NOTARIZE, B))
    made = [evidence_of(key(ALICE).public_key, *pair) for pair in ((one, other), (other, one))]
    assert len({report(evidence).id for evidence in made if evidence is not None}) == 1
    assert isinstance(report(against(ALICE)).transaction.body, ReportEquivocation)
    assert not report(against(ALICE)).is_authentic()
