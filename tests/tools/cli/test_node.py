"""Making a node's folder, and every way in which a node cannot start."""

import errno
import json
import tomllib
from dataclasses import replace

import pytest

from chain.database.interface import DatabaseError, DatabaseReason
from consensus.halting import Halted, HaltReason
from genesis.document import to_json
from tests.tools.chain_node import chain_node
from tests.tools.cli.conftest import PASSWORD
from tools.cli.errors import Exit
from tools.cli.stopped import why_stopped
from tools.node.config import read_config
from tools.node.disk import DiskFullError
from tools.rpc.server import bind


@pytest.fixture
def genesis_file(tmp_path):
    path = tmp_path / "chain.json"
    path.write_text(to_json(chain_node().genesis))
    return path


@pytest.fixture
def password(tmp_path):
    path = tmp_path / "password"
    path.touch(0o600)
    path.write_bytes(PASSWORD)
    return path


def test_init_makes_a_folder_that_a_node_can_read(headrace, tmp_path, genesis_file, password):
    home = tmp_path / "home"
    words = (
        "node",
        "init",
        "--home",
        home,
        "--genesis",
        genesis_file,
        "--validator",
        "--password-file",
        password,
    )
    made = headrace(
        *words, "--moniker", 'say "hi"', "--bootstrap", "/ip4/1.2.3.4/tcp/1/p2p/x", "--json"
    ).document
    assert all(item["made"] for item in made["files"])
    config = read_config(home / "config.toml")
    assert config.moniker == 'say "hi"'
    assert config.bootstrap == ("/ip4/1.2.3.4/tcp/1/p2p/x",)
    assert config.consensus_key == home / "keys" / "consensus.json"
    assert config.genesis.read_bytes() == genesis_file.read_bytes()
    before = {path: path.read_bytes() for path in home.rglob("*") if path.is_file()}
    again = headrace(*words, "--json").document
    assert not any(item["made"] for item in again["files"])
    assert {path: path.read_bytes() for path in home.rglob("*") if path.is_file()} == before


def test_init_without_validator_makes_no_consensus_key(headrace, tmp_path, genesis_file, password):
    home = tmp_path / "home"
    headrace("node", "init", "--home", home, "--genesis", genesis_file, "--password-file", password)
    assert "consensus" not in tomllib.loads((home / "config.toml").read_text())["keys"]
    assert not (home / "keys" / "consensus.json").exists()


def test_a_file_that_is_no_genesis_makes_nothing(headrace, tmp_path):
    bad = tmp_path / "bad.json"
    bad.write_text("{}")
    result = headrace("node", "init", "--home", tmp_path / "home", "--genesis", bad, "--json")
    assert (result.code, result.error["code"]) == (1, "BAD_GENESIS")
    assert not (tmp_path / "home").exists()


def test_a_node_without_a_folder_says_how_to_make_one(headrace, tmp_path):
    result = headrace("node", "run", "--home", tmp_path / "nowhere")
    assert result.code == 1
    assert "headrace node init" in result.err


def test_genesis_show(headrace, genesis_file, served):
    document = headrace("genesis", "show", genesis_file, "--json").document
    assert document["digest"] == chain_node().genesis.digest.hex()
    assert headrace("genesis", "show", "--rpc", served.url, "--json").document == document
    assert document["digest"] in headrace("genesis", "show", genesis_file).out


def test_devices_lists_the_reference_everywhere(headrace):
    document = headrace("miner", "devices", "--json").document
    usable = {item["device"]: item["usable"] for item in document["devices"]}
    assert usable["reference"] is True
    assert json.dumps(document)


@pytest.mark.parametrize(
    ("duty", "code"), [("0.5", 1), ("50%", 1), ("0", 2), ("1.5", 2), ("150%", 2), ("nan", 2), ("x", 2)]
)
def test_duty_is_a_share(headrace, tmp_path, duty, code):
    # A share in order gets as far as the key file, which is missing.
    assert headrace("miner", "run", "--key", tmp_path / "none", "--duty", duty).code == code


@pytest.mark.parametrize(("size", "code"), [("512M", 1), ("2G", 1), ("x", 2), ("5T", 2), ("", 2)])
def test_memory_is_a_size(headrace, tmp_path, size, code):
    assert headrace("miner", "run", "--key", tmp_path / "none", "--memory-limit", size).code == code


def test_init_takes_one_chain_a_folder(headrace, tmp_path, genesis_file, password):
    home = tmp_path / "home"
    words = ("node", "init", "--home", home, "--password-file", password, "--json", "--genesis")
    assert headrace(*words, genesis_file, "--rpc-port", "0", "--listen", "/ip4/127.0.0.1/tcp/0").code == 0
    config = read_config(home / "config.toml")
    assert (config.rpc_port, config.listen) == (0, ("/ip4/127.0.0.1/tcp/0",))
    other = tmp_path / "other.json"
    other.write_text(to_json(replace(chain_node().genesis, timestamp_ms=1)))
    result = headrace(*words, other)
    assert (result.code, result.error["code"]) == (4, "OTHER_CHAIN")
    assert (home / "genesis.json").read_bytes() == genesis_file.read_bytes()


@pytest.mark.parametrize(
    "address", ["bogus", "127.0.0.1:26656", "/ip4/127.0.0.1/tcp/26656", "/ip4/1.2.3.4/tcp/1/p2p"]
)
def test_init_takes_peers_with_their_ids_only(headrace, tmp_path, genesis_file, password, address):
    home = tmp_path / "home"
    words = ("node", "init", "--home", home, "--password-file", password, "--genesis", genesis_file)
    assert headrace(*words, "--bootstrap", address).code == 2
    assert not home.exists()


def test_a_port_in_use_is_said_to_be_one():
    error = why_stopped(OSError(errno.EADDRINUSE, "Address already in use"), [])
    assert error is not None
    assert "change `listen` or `port`" in error.next_step


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (OSError(errno.ENOSPC, "No space left"), "DISK_FULL", "MB left: "),
        (OSError(errno.EIO, "Input/output error"), "DISK_FAILED", "Input/output error"),
        (Halted(HaltReason.DISK_FULL, "writing"), "DISK_FULL", "disk_full: writing"),
        (DatabaseError(DatabaseReason.FULL, "writing"), "DISK_FULL", "writing"),
        (DatabaseError(DatabaseReason.FAILED_BEFORE, "again"), "DISK_FAILED", "again"),
        (DiskFullError("nearly full"), "DISK_FULL", "nearly full"),
        (
            ExceptionGroup(
                "several saw it",
                [
                    ExceptionGroup("", [DatabaseError(DatabaseReason.FAILED_BEFORE, "after")]),
                    Halted(HaltReason.DISK_FULL, "first"),
                ],
            ),
            "DISK_FULL",
            "first",
        ),
    ],
)
def test_a_full_or_failing_disk_is_told_with_a_code_of_its_own(tmp_path, error, code, message):
    told = why_stopped(error, [tmp_path])
    assert told is not None
    assert (told.code, told.exit_code) == (code, Exit.DISK)
    assert message in told.message
    assert "start again" in told.next_step


def test_what_stops_a_node_for_safety_is_told_as_such(tmp_path):
    told = why_stopped(ExceptionGroup("", [Halted(HaltReason.KEY_IN_USE_ELSEWHERE, "key")]), [tmp_path])
    assert told is not None
    assert (told.code, told.exit_code) == ("Halted", Exit.REFUSED)
    assert why_stopped(ValueError("a bug"), [tmp_path]) is None
    assert why_stopped(ExceptionGroup("", [told, ValueError("a bug")]), [tmp_path]) is None


def test_a_validator_without_its_signing_log_does_not_start(headrace, tmp_path, genesis_file):
    home = tmp_path / "home"
    secret = tmp_path / "password"
    secret.touch(0o600)
    secret.write_bytes(PASSWORD)
    words = ("--home", home, "--genesis", genesis_file, "--password-file", secret, "--rpc-port", "0")
    listen = ("--listen", "/ip4/127.0.0.1/tcp/0")
    assert headrace("node", "init", "--validator", *words, *listen).code == 0
    log = home / "keys" / "consensus.json.signed"
    log.unlink()
    refused = headrace("node", "run", "--home", home)
    assert refused.code == Exit.REFUSED
    assert "log_missing" in refused.err
    assert "never signed on this chain, else import its marks" in refused.err
    assert not log.exists()
    # Nor does `init` make one for a key that was there before.
    again = headrace("node", "init", "--validator", *words, "--json")
    assert (again.code, again.error["code"]) == (Exit.REFUSED, "LOG_MISSING")
    assert not log.exists()


async def test_a_taken_rpc_port_is_named():
    first = await bind(port=0)
    with pytest.raises(OSError, match=f"cannot listen on 127.0.0.1 port {first.port}: ") as caught:
        await bind(port=first.port)
    assert caught.value.errno == errno.EADDRINUSE
    for listener in first.listeners:
        await listener.aclose()
