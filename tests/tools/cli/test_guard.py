"""`headrace guard`: the signing log is made once, moved, and never made up."""

import json

import pytest

from chain.crypto.keystore import KeyRole
from consensus.signing.disk import FileDisk
from consensus.signing.signing_guard import open_log
from genesis.document import to_json
from tests.tools.chain_node import chain_node
from tests.tools.cli.conftest import key_file
from tests.tools.keys import ALICE, BOB, CONSENSUS
from tools.cli.errors import Exit
from tools.node.signing import log_path


@pytest.fixture
def owner(tmp_path):
    """Words that name a consensus key and its chain."""
    path, _ = key_file(tmp_path, "consensus", CONSENSUS, KeyRole.CONSENSUS)
    return ("--key", path, "--genesis", genesis_file(tmp_path))


def genesis_file(folder):
    path = folder / "genesis.json"
    path.write_text(to_json(chain_node().genesis))
    return path


def move(headrace, owner, folder):
    """Make a log and export it."""
    assert headrace("guard", "create", *owner).code == 0
    marks = folder / "marks.json"
    assert headrace("guard", "export", *owner, "--out", marks).code == 0
    return marks


def test_a_log_is_made_once(headrace, owner):
    made = headrace("guard", "create", *owner, "--json").document
    assert made["public_key"] == CONSENSUS.public_key.hex()
    assert made["chain_id"] == chain_node().genesis.params.chain_id
    before = log_path(owner[1]).read_bytes()
    again = headrace("guard", "create", *owner, "--json")
    assert (again.code, again.error["code"], again.out) == (Exit.REFUSED, "LOG_EXISTS", "")
    assert log_path(owner[1]).read_bytes() == before


def test_what_one_machine_exports_another_imports(headrace, owner, tmp_path):
    marks = move(headrace, owner, tmp_path)
    assert marks.stat().st_mode & 0o777 == 0o600
    log_path(owner[1]).unlink()
    took = headrace("guard", "import", marks, *owner, "--json").document
    assert took["log"] == str(log_path(owner[1]))
    assert headrace("guard", "import", marks, *owner, "--json").document == took
    assert "nothing is signed below epoch" in headrace("guard", "import", marks, *owner).out


def test_an_export_never_replaces_a_file(headrace, owner, tmp_path):
    marks = move(headrace, owner, tmp_path)
    before = marks.read_bytes()
    again = headrace("guard", "export", *owner, "--out", marks, "--json")
    assert (again.code, again.error["code"]) == (Exit.ERROR, "IO")
    assert marks.read_bytes() == before


def test_a_lost_log_cannot_be_exported(headrace, owner, tmp_path):
    lost = headrace("guard", "export", *owner, "--out", tmp_path / "marks.json", "--json")
    assert (lost.code, lost.error["code"]) == (Exit.REFUSED, "LOG_MISSING")
    assert not (tmp_path / "marks.json").exists()


def test_a_log_in_use_is_left_alone(headrace, owner, tmp_path):
    marks = move(headrace, owner, tmp_path)
    chain_id = chain_node().genesis.params.chain_id
    guard = open_log(FileDisk(log_path(owner[1])), chain_id=chain_id, public_key=CONSENSUS.public_key)
    for words in (("export", "--out", tmp_path / "other.json"), ("import", marks), ("create",)):
        refused = headrace("guard", *words, *owner, "--json")
        assert (refused.code, refused.error["code"]) == (Exit.REFUSED, "LOG_IN_USE")
        assert refused.error["next"] == "stop the node that runs with this key first"
    guard.close()


def test_marks_of_another_key_are_refused(headrace, owner, tmp_path):
    marks = move(headrace, owner, tmp_path)
    (tmp_path / "other").mkdir()
    other, _ = key_file(tmp_path / "other", "consensus", BOB, KeyRole.CONSENSUS)
    refused = headrace("guard", "import", marks, "--key", other, *owner[2:], "--json")
    assert (refused.code, refused.error["code"]) == (Exit.REFUSED, "WRONG_OWNER")
    assert CONSENSUS.public_key.hex() in refused.error["message"]
    assert not log_path(other).exists()


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b"\xff", json.dumps({"format": "1"}).encode()])
def test_a_file_that_is_no_export_makes_nothing(headrace, owner, tmp_path, content):
    (tmp_path / "bad.json").write_bytes(content)
    refused = headrace("guard", "import", tmp_path / "bad.json", *owner, "--json")
    assert (refused.code, refused.error["code"]) == (Exit.ERROR, "BAD_MARKS")
    assert not log_path(owner[1]).exists()


def test_only_consensus_keys_have_logs(headrace, tmp_path):
    account, _ = key_file(tmp_path, "alice", ALICE)
    refused = headrace("guard", "create", "--key", account, "--genesis", genesis_file(tmp_path), "--json")
    assert (refused.code, refused.error["code"]) == (Exit.REFUSED, "WRONG_ROLE")
    assert not log_path(account).exists()


def test_a_key_that_is_not_there_is_said_to_be_missing(headrace, tmp_path):
    missing = headrace("guard", "create", "--key", tmp_path / "none", "--genesis", genesis_file(tmp_path))
    assert missing.code == Exit.ERROR
    assert str(tmp_path / "none") in missing.err
