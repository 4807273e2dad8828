"""Bans in a file: they outlast the process, end on time, and an operator can lift them."""

import json
import logging
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from p2p.files import save
from p2p.keepsakes import SAVING_PAUSE
from p2p.network import PeerId
from p2p.peers.ban_file import BANS, MAX_BANS, StoredBan, from_document, lift_ban, read_bans, to_document
from p2p.peers.scores import BAN_SECONDS, MAX_BAN_SECONDS
from p2p.wire.faults import Fault, PeerFault
from tests.p2p.internet import EPOCH, Internet, Remote, Victim, victim
from tests.p2p.nodes import node, partings, peers_are, until


def ban(name: str, until: int = int(EPOCH) + 500, count: int = 1) -> StoredBan:
    return StoredBan(PeerId(name), until, count, "lied")


def liar() -> tuple[Internet, Remote]:
    internet = Internet()
    return internet, internet.add("liar", "30.1.1.1", honest=False)


def refused(here: Victim, remote: Remote) -> bool:
    return not here.arrive(remote)


async def test_a_ban_survives_a_restart_and_ends_on_time(autojump_clock: MockClock, tmp_path: Path) -> None:
    internet, bad = liar()
    path = tmp_path / "peers.json"
    async with victim(internet, memory=path) as here:
        here.arrive(bad)
        here.roster.report(bad.peer, "lied about a block", weight=100)
        await trio.sleep(SAVING_PAUSE + 1)
        assert refused(here, bad)
    assert read_bans(tmp_path / BANS) == (
        StoredBan(bad.peer, int(EPOCH + BAN_SECONDS), 1, "lied about a block"),
    )
    async with victim(internet, memory=path) as here:  # whose wall clock starts at EPOCH again
        await trio.sleep(BAN_SECONDS - 5)
        assert refused(here, bad)
        with pytest.raises(PeerFault, match="lied about a block") as caught:
            here.arrive_or_raise(bad)
        assert caught.value.fault is Fault.BANNED
        await trio.sleep(6)
        assert here.arrive(bad)
        await trio.sleep(SAVING_PAUSE)
        assert read_bans(tmp_path / BANS) == ()


async def test_the_next_ban_after_a_restart_lasts_twice_as_long(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    internet, bad = liar()
    path = tmp_path / "peers.json"
    save(tmp_path / BANS, to_document([ban(bad.peer, count=1)]))
    async with victim(internet, memory=path) as here:
        await trio.sleep(501)
        here.roster.report(bad.peer, "again", weight=100)
        (found,) = here.roster.scores.bans(trio.current_time())
        assert found.until - trio.current_time() == 2 * BAN_SECONDS


async def test_no_clock_makes_a_ban_longer_than_the_longest(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    internet, bad = liar()
    save(tmp_path / BANS, to_document([ban(bad.peer, until=2**36), ban("past", until=int(EPOCH) - 1)]))
    async with victim(internet, memory=tmp_path / "peers.json") as here:
        (found,) = here.roster.scores.bans(trio.current_time())
        assert (found.peer, found.until - trio.current_time()) == (bad.peer, MAX_BAN_SECONDS)


async def test_an_operator_lifts_a_ban_of_a_running_node(
    autojump_clock: MockClock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    internet, bad = liar()
    other = internet.add("other", "31.1.1.1", honest=False)
    async with victim(internet, memory=tmp_path / "peers.json") as here:
        for remote in (bad, other):
            here.roster.report(remote.peer, "lied", weight=100)
        await trio.sleep(SAVING_PAUSE + 1)
        assert refused(here, bad)
        lifted = lift_ban(tmp_path / BANS, bad.peer)
        assert lifted is not None
        assert lift_ban(tmp_path / BANS, bad.peer) is None
        with caplog.at_level(logging.INFO):
            await trio.sleep(SAVING_PAUSE + 1)
        assert f"event=ban_lifted peer={bad.peer}" in caplog.text
        assert here.arrive(bad)
        assert refused(here, other)
        assert [stored.peer for stored in read_bans(tmp_path / BANS)] == [other.peer]
        (tmp_path / BANS).unlink()
        await trio.sleep(SAVING_PAUSE + 1)
        assert refused(here, other), "a file that is gone lifts nothing"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b'{"version": 2, "bans": []}',
        b'{"version": 1}',
        b'{"version": 1, "bans": [{}]}',
        b'{"version": 1, "bans": [7]}',
        b'{"version": 1, "bans": [{"peer": "", "until": 1, "count": 1, "reason": ""}]}',
        b'{"version": 1, "bans": [{"peer": "a", "until": -1, "count": 1, "reason": ""}]}',
        b'{"version": 1, "bans": [{"peer": "a", "until": 1.5, "count": 1, "reason": ""}]}',
        b'{"version": 1, "bans": [{"peer": "a", "until": 1, "count": 1, "reason": 7}]}',
    ],
)
async def test_an_unreadable_file_is_set_aside(
    autojump_clock: MockClock, tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    internet, bad = liar()
    (tmp_path / BANS).write_bytes(content)
    with caplog.at_level(logging.WARNING):
        async with victim(internet, memory=tmp_path / "peers.json") as here:
            assert here.arrive(bad)
    assert "event=file_set_aside" in caplog.text
    assert (tmp_path / f"{BANS}.unreadable").read_bytes() == content


def test_the_file_is_bounded_and_the_longest_stay() -> None:
    document = json.loads(json.dumps(to_document(ban(f"p{n}", until=n) for n in range(2 * MAX_BANS))))
    kept = from_document(document)
    assert len(kept) == MAX_BANS
    assert min(stored.until for stored in kept) == MAX_BANS
    document["bans"] *= 2
    with pytest.raises(ValueError, match="not a list of at most 1024 bans"):
        from_document(document)


def test_a_reason_fits_whatever_it_says() -> None:
    (stored,) = from_document(to_document([StoredBan(PeerId("a"), 1, 1, "\u1234" * 500)]))
    assert stored.reason == "?" * 200


async def test_over_real_sockets_a_restarted_node_keeps_a_banned_peer_out(tmp_path: Path) -> None:
    book = tmp_path / "peers.json"
    async with node(2) as bad:
        async with node(1, bad, address_book=book) as here:
            await peers_are(here, bad)
            here.report(bad.local_id, "lied", weight=100)
            await peers_are(here)
        async with node(1, address_book=book) as here, node(3, here) as friend:
            await peers_are(here, friend)
            (stored,) = here.stats().bans
            assert (stored.peer, stored.reports[-1].reason) == (bad.local_id, "lied")
            bad._dialer.heard_of(here.local_id, here.told_addresses, source="")
            bad._dialer._targets[here.local_id].next_at = 0
            await until(lambda: partings(here, "banned") > 0)
            assert here.peers() == (friend.local_id,)
