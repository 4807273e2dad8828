"""Key files: made, shown, never overwritten, and no secret ever on the screen."""

import os

import pytest

from chain.crypto.keystore import KeyRole
from tests.tools.cli.conftest import PASSWORD, key_file
from tests.tools.keys import ALICE


@pytest.fixture
def password(tmp_path):
    path = tmp_path / "password"
    path.touch(0o600)
    path.write_bytes(PASSWORD + b"\n")
    return path


def test_a_new_key_is_shown_without_its_password(headrace, tmp_path, password):
    out = tmp_path / "miner.json"
    made = headrace(
        "key", "new", "--role", "miner", "--kdf", "light", "--out", out, "--password-file", password
    )
    assert made.code == 0
    assert "hrl1" in made.out
    shown = headrace("key", "show", out, "--json").document
    assert shown["role"] == "miner"
    assert shown["address"] in made.out
    listed = headrace("key", "list", tmp_path, "--json").document
    assert listed == {"keys": [shown]}
    assert out.stat().st_mode & 0o777 == 0o600


def test_a_key_is_never_overwritten(headrace, tmp_path, password):
    out = tmp_path / "key.json"
    arguments = ("key", "new", "--kdf", "light", "--out", out, "--password-file", password, "--json")
    assert headrace(*arguments).code == 0
    before = out.read_bytes()
    again = headrace(*arguments)
    assert (again.code, again.error["code"]) == (4, "EXISTS")
    assert out.read_bytes() == before


def test_a_password_that_others_can_read_is_refused(headrace, tmp_path, password):
    password.chmod(0o644)
    result = headrace("key", "new", "--out", tmp_path / "k", "--password-file", password, "--json")
    assert (result.code, result.error["code"]) == (4, "PERMISSIONS")


def test_without_a_terminal_a_password_file_is_asked_for(headrace, tmp_path):
    result = headrace("key", "new", "--out", tmp_path / "k", "--json")
    assert (result.code, result.error["code"]) == (1, "NO_PASSWORD")


@pytest.mark.parametrize("content", [b"", b"{}", b"[" * 5000, b"\xff"])
def test_a_file_that_is_no_key_is_named(headrace, tmp_path, content):
    path = tmp_path / "x.json"
    path.touch(0o600)
    path.write_bytes(content)
    result = headrace("key", "show", path, "--json")
    assert (result.code, result.error["code"]) == (1, "NOT_A_KEY_FILE")


def test_no_output_ever_holds_a_secret(headrace, served, tmp_path, bob_address):
    path, password = key_file(tmp_path, "alice", ALICE)
    consensus, _ = key_file(tmp_path, "consensus", ALICE, KeyRole.CONSENSUS)
    wrong = tmp_path / "wrong"
    wrong.touch(0o600)
    wrong.write_bytes(b"canary-wrong-password")
    send = ("tx", "send", "--rpc", served.url, "--to", bob_address, "--amount", "1")
    lines = [
        ("key", "show", path),
        ("key", "list", tmp_path),
        (*send, "--key", path, "--password-file", password),
        (*send, "--key", path, "--password-file", wrong),
        (*send, "--key", consensus, "--password-file", password),
        ("rpc", "--rpc", served.url, "rpc.discover"),
        ("status", "--rpc", served.url),
    ]
    secrets = [PASSWORD.decode(), ALICE.seed.hex(), "canary-wrong-password", os.fsdecode(ALICE.seed)]
    codes = []
    for words in lines:
        for extra in ((), ("--json",)):
            result = headrace(*words, *extra)
            codes.append(result.code)
            assert not [secret for secret in secrets if secret in result.out + result.err], words
    assert codes == [0, 0, 0, 0, 0, 0, 1, 1, 4, 4, 0, 0, 0, 0]
