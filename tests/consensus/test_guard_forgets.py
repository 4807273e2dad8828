"""What the signing guard may forget while an epoch goes on: bytes, and no promise."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from chain.codec import decode
from chain.types.block import Block
from chain.types.statement import Kind, Statement
from consensus.messages import Proposal
from consensus.signing import disk as disks
from consensus.signing.disk import FileDisk
from consensus.signing.signer import Signer
from consensus.signing.signing_guard import GuardReason, open_log
from consensus.simplex.witness import WITNESSED_VIEWS
from tests.consensus import cluster as clusters
from tests.consensus.cluster import open_cluster
from tests.consensus.fakes import CHAIN_ID, PowerCut, SimDisk, committee_of, genesis, params
from tests.consensus.guards import KEY, B, fresh, reason_of, reopened, says, signer

BOUND = 40_000
"""Bytes, in place of megabytes: a proposal of these tests takes some 600."""


@pytest.fixture
def autojump_clock() -> MockClock:
    return MockClock(autojump_threshold=0)


@pytest.fixture(autouse=True)
def _small_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("consensus.signing.signing_guard._COMPACT_ABOVE", BOUND)


def block_of(view: int) -> Block:
    return Block(replace(genesis(committee_of([KEY.public_key])), height=1, view=view), ())


def lead(hand: Signer, view: int) -> None:
    """A view in which our key says all that it may."""
    hand.propose(0, view, block_of(view))
    for kind in (Kind.NOTARIZE, Kind.FINALIZE):
        hand.vote(Statement(kind, 0, view, block_of(view).digest))


def check_no_contradiction(hand: Signer, view: int) -> None:
    """The key cannot be brought to sign in a view what excludes what it signed there."""
    for statement in (says(Kind.NOTARIZE, view, B), says(Kind.FINALIZE, view, B), says(Kind.NULLIFY, view)):
        reason = reason_of(lambda s=statement: hand.vote(s))
        assert reason in (GuardReason.CONFLICT, GuardReason.BELOW_WATERMARK)


def test_an_epoch_of_proposals_takes_a_bounded_log_and_few_rewrites() -> None:
    disk, views = SimDisk(), 600
    guard = fresh(disk)
    hand = signer(guard)
    written = most = 0
    for view in range(views):
        before = len(disk.data or b"")
        lead(hand, view)
        written += len(disk.data or b"") - before
        if hand.is_full:
            hand.forget(0, view)
        most = max(most, len(disk.data or b""), sum(len(entry.stored) for entry in guard.entries(0)))
    assert most < BOUND + 2000
    assert written > 10 * BOUND
    assert disk.rewrites <= 1 + written // (BOUND // 2)
    for view in (0, views // 2, views - 1):
        check_no_contradiction(signer(reopened(disk)), view)


def test_what_can_still_convict_is_kept_and_below_it_nothing_is_signed() -> None:
    disk = SimDisk()
    hand = signer(fresh(disk))
    for view in range(60):
        lead(hand, view)
    hand.forget(0, 49)
    oldest = 50 - WITNESSED_VIEWS
    for again in (hand, signer(reopened(disk))):
        # Another holder of our key, which signed there what we did not, is still found out.
        assert not again.has_signed(says(Kind.NOTARIZE, oldest, B))
        for view in (oldest, 59):
            digest, proposal = again.propose(0, view, block_of(view + 1))
            assert (digest, proposal.block) == (block_of(view).digest, block_of(view))
        for act in (lambda h: h.vote(says(Kind.NULLIFY, oldest - 1)), lambda h: h.propose(0, 3, block_of(3))):
            assert reason_of(lambda a=act, h=again: a(h)) is GuardReason.BELOW_WATERMARK


def test_a_log_that_would_hardly_shrink_is_left_alone() -> None:
    """While nothing becomes final, a rewrite at every block would cost more than it brings."""
    disk = SimDisk()
    hand = signer(fresh(disk))
    for view in range(60):
        lead(hand, view)
        hand.forget(0, 0)
    assert hand.is_full
    assert disk.rewrites == 1


def test_what_is_final_is_neither_decoded_nor_said_again(monkeypatch: pytest.MonkeyPatch) -> None:
    disk = SimDisk()
    first = signer(fresh(disk))
    for view in range(10):
        lead(first, view)
    decoded: list[bytes] = []

    def counted(kind: type[Proposal], data: bytes, *, limit: int) -> Proposal:
        decoded.append(data)
        return decode(kind, data, limit=limit)

    monkeypatch.setattr("consensus.signing.signer.decode", counted)
    votes, proposals = signer(reopened(disk)).resume(0, floor=8)
    assert [proposal.view for _, proposal in proposals] == [8, 9]
    assert {vote.view for vote in votes} == {8, 9}
    assert len(decoded) == 2


STEPS = ("write", "sync", "rename", "sync of the folder", "lost rename")


@pytest.mark.parametrize("step", STEPS)
def test_a_crash_at_any_step_of_forgetting_leaves_every_promise(
    step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "log"
    guard = fresh(FileDisk(path))
    hand = signer(guard)
    for view in range(70):
        lead(hand, view)
    before, synced = path.read_bytes(), 0

    def write(handle: int, data: bytes) -> None:
        os.write(handle, data[: len(data) // 2] if step == "write" else data)
        if step == "write":
            raise PowerCut

    def sync(_handle: int) -> None:
        nonlocal synced
        synced += 1
        if synced == {"sync": 1, "sync of the folder": 2, "lost rename": 2}.get(step):
            raise PowerCut

    def rename(source: Path, target: Path) -> Path:
        if step == "rename":
            raise PowerCut
        return source.rename(target)

    with monkeypatch.context() as patch:
        patch.setattr(disks, "_write", write)
        patch.setattr(os, "fsync", sync)
        patch.setattr(Path, "replace", rename)
        with pytest.raises(PowerCut):
            hand.forget(0, 60)
    guard.close()
    if step == "lost rename":
        path.write_bytes(before)
    assert (path.read_bytes() == before) is (step != "sync of the folder")
    again = open_log(FileDisk(path), chain_id=CHAIN_ID, public_key=KEY.public_key)
    try:
        for view in range(70):
            check_no_contradiction(signer(again), view)
        lead(signer(again), 69)
        lead(signer(again), 70)
        signer(again).forget(0, 61)
    finally:
        again.close()


async def test_a_cluster_forgets_in_the_middle_of_an_epoch_and_starts_again(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        clusters, "PARAMS", params(epoch_length=1000, block_interval_ms=500, network_delay_ms=1000)
    )
    monkeypatch.setattr("consensus.signing.signing_guard._COMPACT_ABOVE", BOUND // 2)
    async with open_cluster() as cluster:
        cluster.start()
        for _ in range(2):
            await trio.sleep(25)
            for machine in cluster.machines:
                assert len(machine.disk.data or b"") < BOUND // 2 + 2000
                await machine.kill()
            before = max(cluster.heights())
            cluster.start()
        await trio.sleep(10)
        assert all(machine.disk.rewrites > 1 for machine in cluster.machines)
        assert min(cluster.heights()) > before + 5
        assert cluster.agree()
