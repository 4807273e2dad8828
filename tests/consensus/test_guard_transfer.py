"""Moving a key: its marks go with it, and a guard under fire keeps every promise on the way."""

import json

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from chain.types.block import Block
from chain.types.statement import Kind, Statement, excludes
from consensus.signing.guard_transfer import (
    Marks,
    MarksError,
    export_marks,
    marks_from_json,
    marks_to_json,
)
from consensus.signing.signing_guard import GuardError, GuardReason
from consensus.simplex.witness import WITNESSED_VIEWS
from tests.consensus.fakes import CHAIN_ID, PowerCut, SimDisk, TagKey, committee_of, genesis
from tests.consensus.guards import KEY, A, B, fresh, reason_of, reopened, says, signer, taken_in


def test_an_import_forbids_all_that_was_signed_and_the_views_between() -> None:
    disk = SimDisk()
    old = fresh(disk)
    signer(old).vote(says(Kind.NOTARIZE, epoch=2, view=5))
    signer(old).vote(says(Kind.NULLIFY, epoch=2, view=3))
    marks = export_marks(old, chain_id=CHAIN_ID, public_key=KEY.public_key)
    assert marks == Marks(CHAIN_ID, KEY.public_key, (0, 0), None, (2, 5))
    assert marks_from_json(json.dumps(marks_to_json(marks)).encode()) == marks
    moved = SimDisk()
    for _ in range(2):
        moved.locked = False
        guard = taken_in(moved, marks)
        assert guard.watermark == (2, 6)
        assert not guard.is_in_place
        for kind in (Kind.NOTARIZE, Kind.NULLIFY, Kind.FINALIZE):
            for view in range(6):
                asked = says(kind, epoch=2, view=view, digest=B)
                assert reason_of(lambda a=asked, g=guard: signer(g).vote(a)) is GuardReason.BELOW_WATERMARK
                assert guard.covers(asked)
    signer(guard).vote(says(Kind.NULLIFY, epoch=2, view=6))


def test_of_two_logs_the_higher_marks_count() -> None:
    disk = SimDisk()
    guard = fresh(disk)
    vote = signer(guard).vote(says(Kind.NOTARIZE, epoch=3, view=9))
    disk.locked = False
    low = Marks(CHAIN_ID, KEY.public_key, (1, 0), (1, 4), (2, 2))
    guard = taken_in(disk, low)
    assert guard.watermark == (2, 3)
    assert guard.is_in_place
    assert signer(guard).vote(says(Kind.NOTARIZE, epoch=3, view=9)) == vote


def test_a_key_that_comes_back_watches_like_one_that_comes_new() -> None:
    disk = SimDisk()
    disk.lies_at = A
    guard = fresh(disk)
    signer(guard).vote(says(Kind.NOTARIZE, epoch=3, view=9))
    own = export_marks(guard, chain_id=CHAIN_ID, public_key=KEY.public_key)
    disk.locked = False
    assert taken_in(disk, own).is_in_place
    disk.locked = False
    guard = taken_in(disk, Marks(CHAIN_ID, KEY.public_key, (3, 0), (3, 12), (3, 13)))
    assert not guard.is_in_place
    assert not signer(guard).was_here((3, 14), within=20)
    guard = reopened(disk)
    assert not guard.is_in_place
    guard.settle()
    assert reopened(disk).is_in_place


@pytest.mark.parametrize(("chain_id", "key"), [("other", KEY), (CHAIN_ID, TagKey(2))])
def test_the_marks_of_another_key_or_chain_are_refused(chain_id: str, key: TagKey) -> None:
    marks = Marks(chain_id, key.public_key, (1, 0), None, None)
    assert reason_of(lambda: taken_in(SimDisk(), marks)) is GuardReason.WRONG_OWNER


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "2"}, "format"),
        ({"public_key": "00"}, "public_key"),
        ({"watermark": None}, "watermark"),
        ({"max_vote": {"epoch": 1, "view": "2"}}, "max_vote.epoch"),
        ({"max_vote": {"epoch": "-1", "view": "2"}}, "max_vote.epoch"),
        ({"max_vote": {"epoch": "1"}}, "max_vote"),
        ({"max_proposal": {"epoch": "1", "view": "9" * 20}}, "max_proposal.view"),
        ({"more": 1}, "exactly"),
    ],
)
def test_what_is_no_export_is_refused_by_name(change: dict, message: str) -> None:
    good = marks_to_json(Marks(CHAIN_ID, KEY.public_key, (1, 0), None, (1, 2)))
    with pytest.raises(MarksError, match=message):
        marks_from_json(json.dumps(good | change).encode())


class GuardUnderFire(RuleBasedStateMachine):
    """Signs at random, cuts the power at random bytes, restarts; everything released is kept and compared."""

    @initialize()
    def create(self) -> None:
        self.disk = SimDisk()
        self.signer = signer(fresh(self.disk))
        self.released: list[Statement] = []
        self.proposals: dict[tuple[int, int], object] = {}
        self.floor = 0
        self.exported: list[tuple[Marks, int]] = []

    def release(self, statement: Statement) -> None:
        for earlier in self.released:
            assert not excludes(earlier, statement), f"{earlier} and {statement}"
        assert statement.epoch >= self.floor
        self.released.append(statement)

    def attempt(self, act) -> None:
        try:
            act()
        except GuardError:
            pass
        except PowerCut:
            self.restart()

    @rule(
        kind=st.sampled_from([Kind.NOTARIZE, Kind.NULLIFY, Kind.FINALIZE]), epoch=st.integers(0, 2),
        view=st.integers(0, 3), digest=st.sampled_from([A, B]), cut=st.none() | st.integers(0, 1000),
    )  # fmt: skip
    def vote(self, kind: Kind, epoch: int, view: int, digest: bytes, cut: int | None) -> None:
        statement = says(kind, view, digest, epoch)
        self.disk.cut = cut
        self.attempt(lambda: self.release(self.signer.vote(statement).statement))
        self.disk.cut = None

    @rule(
        epoch=st.integers(0, 2),
        view=st.integers(0, 3),
        height=st.integers(1, 2),
        cut=st.none() | st.integers(0, 1000),
    )
    def propose(self, epoch: int, view: int, height: int, cut: int | None) -> None:
        header = genesis(committee_of([KEY.public_key]))
        block = Block(
            type(header)(**{n: getattr(header, n) for n in header.__slots__} | {"height": height}), ()
        )

        def act() -> None:
            digest, proposal = self.signer.propose(epoch, view, block)
            self.release(Statement(Kind.PROPOSE, epoch, view, digest))
            assert self.proposals.setdefault((epoch, view), proposal) == proposal

        self.disk.cut = cut
        self.attempt(act)
        self.disk.cut = None

    @rule(below=st.integers(0, 2), cut=st.none() | st.integers(0, 1000))
    def finish(self, below: int, cut: int | None) -> None:
        self.disk.cut = cut
        self.attempt(lambda: self.signer.resume(below))
        self.disk.cut = None
        self.floor = max(self.floor, below) if cut is None else self.floor

    @rule(epoch=st.integers(0, 2), below=st.integers(0, 3), cut=st.none() | st.integers(0, 1000))
    def forget(self, epoch: int, below: int, cut: int | None) -> None:
        self.disk.cut = cut
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("consensus.signing.signing_guard._COMPACT_ABOVE", 400)
            self.attempt(lambda: self.signer.forget(epoch, below + WITNESSED_VIEWS - 1))
        self.disk.cut = None

    @rule()
    def export(self) -> None:
        """The operator writes the marks down, perhaps long before they are used."""
        guard = reopened(self.disk)
        marks = export_marks(guard, chain_id=CHAIN_ID, public_key=KEY.public_key)
        self.exported.append((marks_from_json(json.dumps(marks_to_json(marks)).encode()), len(self.released)))
        self.signer = signer(guard)

    @rule(number=st.integers(0, 9))
    def come_back(self, number: int) -> None:
        """An export is read where the log still lies: whatever it says, nothing that was signed is undone."""
        if self.exported:
            marks, _ = self.exported[number % len(self.exported)]
            self.disk.locked = False
            self.signer = signer(taken_in(self.disk, marks))

    @rule()
    def move(self) -> None:
        """The key goes to another machine with a fresh export, and without its log."""
        guard = reopened(self.disk)
        marks = export_marks(guard, chain_id=CHAIN_ID, public_key=KEY.public_key)
        self.disk = SimDisk()
        self.signer = signer(taken_in(self.disk, marks))
        # What was not torn may still be asked for again; what was proposed is not sent from here.
        self.proposals = {at: p for at, p in self.proposals.items() if at >= marks.next}

    @rule()
    def restart(self) -> None:
        self.disk.cut = None
        self.signer = signer(reopened(self.disk))


GuardUnderFire.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestGuardUnderFire = GuardUnderFire.TestCase
