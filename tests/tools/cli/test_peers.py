"""Listing and lifting bans from the command line."""

import json

import pytest

from p2p.files import save
from p2p.network import PeerId
from p2p.peers.ban_file import BANS, StoredBan, to_document


@pytest.fixture
def home(tmp_path):
    (tmp_path / "config.toml").write_text('genesis = "genesis.json"\n', encoding="utf-8")
    (tmp_path / "data").mkdir()
    bans = [StoredBan(PeerId(name), 1_800_000_000, 2, f"{name} lied") for name in ("ann", "bob")]
    save(tmp_path / "data" / BANS, to_document(bans))
    return tmp_path


def test_bans_are_listed_with_their_reason_and_end(headrace, home):
    shown = headrace("peers", "bans", "--home", str(home)).out
    assert "ann   2027-01-15 08:00+00:00  2            ann lied" in shown
    document = json.loads(headrace("peers", "bans", "--home", str(home), "--json").out)
    assert document["bans"][1] == {
        "peer": "bob", "until": 1_800_000_000, "count": 2, "reason": "bob lied"
    }  # fmt: skip


def test_a_ban_is_lifted_once(headrace, home):
    assert headrace("peers", "lift", "ann", "--home", str(home)).code == 0
    again = headrace("peers", "lift", "ann", "--home", str(home))
    assert (again.code, "ann is not banned" in again.err) == (1, True)
    left = json.loads(headrace("peers", "bans", "--home", str(home), "--json").out)["bans"]
    assert [ban["peer"] for ban in left] == ["bob"]


def test_without_bans_or_without_a_node(headrace, home, tmp_path):
    (home / "data" / BANS).unlink()
    assert headrace("peers", "bans", "--home", str(home)).out == "nobody is banned\n"
    missing = headrace("peers", "bans", "--home", str(tmp_path / "nowhere"))
    assert (missing.code, "config.toml is not there" in missing.err) == (1, True)
