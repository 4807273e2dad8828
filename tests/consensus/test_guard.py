"""The signing guard: whatever the power does, the key never contradicts itself."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chain.types.block import Block
from chain.types.statement import Kind
from consensus.signing.disk import DiskBusyError, FileDisk
from consensus.signing.guard_log import Record, RecordKind, read_log, write_record
from consensus.signing.signing_guard import GuardError, GuardReason, open_log
from tests.consensus.fakes import CHAIN_ID, PowerCut, SimDisk, TagKey, committee_of, genesis
from tests.consensus.guards import KEY, A, B, fresh, reason_of, reopened, says, signer


def test_a_repeat_returns_what_was_stored_also_after_a_restart() -> None:
    disk = SimDisk()
    first = signer(fresh(disk)).vote(says(Kind.NOTARIZE))
    written = disk.writes
    again = signer(reopened(disk)).vote(says(Kind.NOTARIZE))
    assert again == first
    assert disk.writes == written


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (says(Kind.NOTARIZE), says(Kind.NOTARIZE, digest=B)),
        (says(Kind.FINALIZE), says(Kind.NULLIFY)),
        (says(Kind.NULLIFY), says(Kind.FINALIZE)),
        (says(Kind.FINALIZE), says(Kind.FINALIZE, digest=B)),
    ],
)
@pytest.mark.parametrize("restarts", [False, True])
def test_what_excludes_an_earlier_signature_is_refused(first, second, restarts: bool) -> None:
    disk = SimDisk()
    guard = fresh(disk)
    signer(guard).vote(first)
    guard = reopened(disk) if restarts else guard
    assert reason_of(lambda: signer(guard).vote(second)) is GuardReason.CONFLICT


@pytest.mark.parametrize("other", [Kind.NULLIFY, Kind.FINALIZE])
def test_notarize_goes_with_either(other: Kind) -> None:
    both = signer(fresh(SimDisk()))
    both.vote(says(Kind.NOTARIZE))
    both.vote(says(other))


def test_a_proposal_is_sent_again_as_it_was_never_rebuilt() -> None:
    disk = SimDisk()
    header = genesis(committee_of([KEY.public_key]))
    first = Block(header, ())
    digest, proposal = signer(fresh(disk)).propose(0, 3, first)
    rebuilt = Block(type(header)(**{n: getattr(header, n) for n in header.__slots__} | {"height": 9}), ())
    assert signer(reopened(disk)).propose(0, 3, rebuilt) == (digest, proposal)
    assert proposal.block == first


def test_finished_epochs_are_closed_for_ever() -> None:
    disk = SimDisk()
    guard = fresh(disk)
    signer(guard).vote(says(Kind.NOTARIZE, epoch=1))
    guard.finish_epochs(2)
    assert reason_of(lambda: signer(guard).vote(says(Kind.NOTARIZE, epoch=1))) is GuardReason.BELOW_WATERMARK
    assert reason_of(lambda: signer(reopened(disk)).vote(says(Kind.NULLIFY, epoch=0))) is (
        GuardReason.BELOW_WATERMARK
    )
    assert guard.entries(1) == ()


def test_a_large_log_is_rewritten_without_finished_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("consensus.signing.signing_guard._COMPACT_ABOVE", 1000)
    disk = SimDisk()
    guard = fresh(disk)
    for view in range(50):
        signer(guard).vote(says(Kind.NOTARIZE, view=view))
    vote = signer(guard).vote(says(Kind.NOTARIZE, epoch=1))
    assert disk.data is not None
    before = len(disk.data)
    guard.finish_epochs(1)
    assert len(disk.data) < before // 10
    again = reopened(disk)
    assert signer(again).vote(says(Kind.NOTARIZE, epoch=1)) == vote
    assert reason_of(lambda: signer(again).vote(says(Kind.NOTARIZE, view=60))) is GuardReason.BELOW_WATERMARK


def test_a_missing_log_refuses_and_says_what_to_do() -> None:
    with pytest.raises(GuardError, match="Put the log back, or use a new key") as caught:
        open_log(SimDisk(), chain_id=CHAIN_ID, public_key=KEY.public_key)
    assert caught.value.reason is GuardReason.LOG_MISSING


def test_a_log_is_created_once() -> None:
    disk = SimDisk()
    fresh(disk).close()
    assert reason_of(lambda: fresh(disk)) is GuardReason.LOG_EXISTS


@pytest.mark.parametrize(("chain_id", "key"), [("other-chain", KEY), (CHAIN_ID, TagKey(2))])
def test_a_log_of_another_key_or_chain_is_refused(chain_id: str, key: TagKey) -> None:
    disk = SimDisk()
    fresh(disk).close()
    opening = lambda: open_log(disk, chain_id=chain_id, public_key=key.public_key)  # noqa: E731
    assert reason_of(opening) is GuardReason.WRONG_OWNER
    assert not disk.locked


def test_damage_in_the_middle_is_no_power_cut() -> None:
    disk = SimDisk()
    guard = fresh(disk)
    for view in range(3):
        signer(guard).vote(says(Kind.NOTARIZE, view=view))
    assert disk.data is not None
    whole = bytearray(disk.data)
    whole[len(whole) // 2] ^= 1
    disk.data = bytes(whole)
    assert reason_of(lambda: reopened(disk)) is GuardReason.LOG_CORRUPT


def test_a_torn_vote_may_be_signed_again_but_nothing_against_it() -> None:
    disk = SimDisk()
    guard = fresh(disk)
    assert disk.data is not None
    record = write_record(Record(RecordKind.NOTARIZE, 0, 4, A, bytes(64)))
    disk.cut = 1000 * (len(record) - 1) // len(record)
    with pytest.raises(PowerCut):
        signer(guard).vote(says(Kind.NOTARIZE, view=4))
    again = reopened(disk)
    assert (
        reason_of(lambda: signer(again).vote(says(Kind.NOTARIZE, view=4, digest=B))) is GuardReason.CONFLICT
    )
    signer(again).vote(says(Kind.NOTARIZE, view=4))
    signer(again).vote(says(Kind.NULLIFY, view=4))


def test_a_torn_proposal_is_lost_and_not_made_anew() -> None:
    disk = SimDisk()
    guard = fresh(disk)
    disk.cut = 900
    block = Block(genesis(committee_of([KEY.public_key])), ())
    with pytest.raises(PowerCut):
        signer(guard).propose(0, 2, block)
    for _ in range(2):
        assert reason_of(lambda: signer(reopened(disk)).propose(0, 2, block)) is GuardReason.BURNT
    signer(reopened(disk)).vote(says(Kind.NOTARIZE, view=2))


def test_an_unreadable_torn_record_burns_the_views_it_may_have_covered() -> None:
    disk = SimDisk()
    guard = fresh(disk)
    signer(guard).vote(says(Kind.NOTARIZE, view=6))
    disk.cut = 100
    with pytest.raises(PowerCut):
        signer(guard).vote(says(Kind.NOTARIZE, view=7))
    for _ in range(2):
        again = signer(reopened(disk))
        assert reason_of(lambda s=again: s.vote(says(Kind.NOTARIZE, view=7))) is GuardReason.BURNT
        assert reason_of(lambda s=again: s.vote(says(Kind.FINALIZE, view=6))) is GuardReason.BURNT
        # A cluster in which every log is torn must still be able to leave the view.
        again.vote(says(Kind.NULLIFY, view=7))
        again.vote(says(Kind.NOTARIZE, view=8))


@given(st.lists(st.sampled_from([0, 1, 2, 3]), max_size=5), st.integers(0, 2000), st.integers(0, 7))
@settings(max_examples=200, deadline=None)
def test_every_prefix_of_a_log_is_torn_and_never_damaged(kinds: list[int], cut: int, flip: int) -> None:
    records = [Record(RecordKind.OWNER, 0, 0, KEY.public_key, b"x")]
    records += [Record(RecordKind(kind), 1, i, A, bytes(64)) for i, kind in enumerate(kinds)]
    data = b"".join(write_record(record) for record in records)
    reading = read_log(data[: min(cut, len(data))])
    assert reading.damage is None
    assert list(reading.records) == records[: len(reading.records)]
    assert (reading.torn is None) == (
        data[: min(cut, len(data))] == b"".join(map(write_record, reading.records))
    )


def test_a_log_knows_when_it_was_moved() -> None:
    disk = SimDisk()
    assert fresh(disk).is_in_place
    disk.lies_at = bytes([5]) * 32
    guard = reopened(disk)
    assert not guard.is_in_place
    guard.settle()
    assert reopened(disk).is_in_place


def test_a_copied_file_is_not_in_its_place(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "there").mkdir()
    path, copy = tmp_path / "here" / "log", tmp_path / "there" / "log"
    fresh(FileDisk(path)).close()
    copy.write_bytes(path.read_bytes())
    for file, expected in ((path, True), (copy, False)):
        guard = open_log(FileDisk(file), chain_id=CHAIN_ID, public_key=KEY.public_key)
        assert guard.is_in_place is expected
        guard.close()


def test_a_file_keeps_what_was_signed(tmp_path: Path) -> None:
    path = tmp_path / "signing.log"
    disk = FileDisk(path)
    guard = fresh(disk)
    vote = signer(guard).vote(says(Kind.NOTARIZE))
    guard.close()
    guard = open_log(FileDisk(path), chain_id=CHAIN_ID, public_key=KEY.public_key)
    assert signer(guard).vote(says(Kind.NOTARIZE)) == vote
    assert path.stat().st_mode & 0o777 == 0o600
    guard.close()


def test_one_signer_one_lock(tmp_path: Path) -> None:
    path = tmp_path / "signing.log"
    guard = fresh(FileDisk(path))
    opening = lambda: open_log(FileDisk(path), chain_id=CHAIN_ID, public_key=KEY.public_key)  # noqa: E731
    assert reason_of(opening) is GuardReason.LOG_IN_USE
    guard.close()
    opening().close()


def test_a_torn_file_is_rewritten_whole(tmp_path: Path) -> None:
    path = tmp_path / "signing.log"
    guard = fresh(FileDisk(path))
    vote = signer(guard).vote(says(Kind.NOTARIZE))
    signer(guard).vote(says(Kind.FINALIZE))
    guard.close()
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 30)
    guard = open_log(FileDisk(path), chain_id=CHAIN_ID, public_key=KEY.public_key)
    assert signer(guard).vote(says(Kind.NOTARIZE)) == vote
    assert reason_of(lambda: signer(guard).vote(says(Kind.NULLIFY))) is GuardReason.CONFLICT
    assert read_log(path.read_bytes()).torn is None
    signer(guard).vote(says(Kind.NULLIFY, view=1))
    guard.close()


def test_a_disk_in_use_says_so(tmp_path: Path) -> None:
    first, second = FileDisk(tmp_path / "log"), FileDisk(tmp_path / "log")
    first.lock()
    with pytest.raises(DiskBusyError, match="in use by another process"):
        second.lock()
    first.close()
    second.lock()
    second.close()
    assert [path.name for path in tmp_path.iterdir()] == ["log.lock"]
