"""A testnet's folder: made once, found again, never overwritten."""

import json
import socket
import stat
from pathlib import Path

import pytest

from chain.crypto.keystore import KeyRole, read_key_file
from genesis.document import read_genesis
from tools.node.config import read_config
from tools.testnet import prepare
from tools.testnet.plan import PlanError, TestnetOptions
from tools.testnet.record import RecordError, plan_of, read_record, record_of

OPTIONS = TestnetOptions(validators=2, full_nodes=1, seed="prepare")


def test_everything_that_a_process_needs_is_written(tmp_path: Path) -> None:
    folder = tmp_path / "net"
    plan = prepare.make_testnet(folder, OPTIONS)
    record = read_record(folder)
    assert record == record_of(folder, plan)
    password = Path(record.accounts[0].password_file).read_bytes().strip()
    for node in plan.nodes:
        config = read_config(folder / node.name / "config.toml")
        assert read_genesis(config.genesis).committee.seats == 64
        assert config.peer_key is not None
        assert read_key_file(config.peer_key, password)[0].public_key == node.peer.public_key
        if node.consensus is not None:
            assert config.consensus_key is not None
            assert read_key_file(config.consensus_key, password)[1].role is KeyRole.CONSENSUS
    secret, header = read_key_file(Path(record.accounts[0].key_file), password)
    assert (secret.public_key, header.role) == (plan.accounts[0].key.public_key, KeyRole.ACCOUNT)


def test_only_the_owner_reads_keys_and_passwords(tmp_path: Path) -> None:
    prepare.make_testnet(tmp_path / "net", OPTIONS)
    secrets = [
        *tmp_path.rglob("password"),
        *tmp_path.rglob("keys/*.json"),
        *tmp_path.rglob("accounts/*.json"),
    ]
    assert len(secrets) == 16
    assert {stat.S_IMODE(path.stat().st_mode) for path in secrets} == {0o600}


def test_the_record_holds_no_secret(tmp_path: Path) -> None:
    plan = prepare.make_testnet(tmp_path / "net", OPTIONS)
    text = (tmp_path / "net" / "testnet.json").read_text()
    assert not any(owner.key.seed.hex() in text for owner in (*plan.miners, *plan.accounts))


def test_a_testnet_goes_on_with_the_same_plan(tmp_path: Path) -> None:
    plan = prepare.make_testnet(tmp_path / "net", OPTIONS)
    assert prepare.holds_testnet(tmp_path / "net")
    found = prepare.find_testnet(tmp_path / "net", given=[], duties=None)
    assert record_of(tmp_path, found) == record_of(tmp_path, plan)
    assert [
        miner.duty for miner in prepare.find_testnet(tmp_path / "net", given=[], duties=(0.5,)).miners
    ] == [0.5, 0.5]


def test_what_a_testnet_has_decided_cannot_be_asked_for_again(tmp_path: Path) -> None:
    folder = tmp_path / "net"
    prepare.make_testnet(folder, OPTIONS)
    with pytest.raises(PlanError) as refused:
        prepare.find_testnet(folder, given=["--seed"], duties=None)
    assert str(refused.value) == (
        f"{folder} holds a testnet of 2 validators and 1 full nodes with the seed 'prepare': "
        "leave out --seed to go on with it, or choose another --dir"
    )


def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(PlanError, match="is not empty and holds no testnet: choose another --dir"):
        prepare.make_testnet(tmp_path, OPTIONS)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_port_in_use_is_named(tmp_path: Path) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        base = min(port, 65536 - 6)
        with pytest.raises(PlanError, match=rf"port {port} cannot be used \(Address already in use\)"):
            prepare.make_testnet(tmp_path / "net", TestnetOptions(validators=3, base_port=base))
    assert not (tmp_path / "net").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no testnet in {}: No such file or directory"),
        ("{", "{}/testnet.json is not JSON: Expecting property name"),
        ("[" * 20_000, "{}/testnet.json is not JSON: maximum recursion depth"),
        ("[]", "{}/testnet.json is not the record of a testnet of this version"),
        ('{"version": 9}', "{}/testnet.json is not the record of a testnet of this version"),
        ('{"version": 1}', "{}/testnet.json has members missing or unknown: 'nodes'"),
    ],
)
def test_a_record_that_is_none_is_explained(tmp_path: Path, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / "testnet.json").write_text(content)
    with pytest.raises(RecordError) as refused:
        read_record(tmp_path)
    assert str(refused.value).startswith(message.format(tmp_path))


def test_the_record_is_what_its_schema_says(tmp_path: Path) -> None:
    prepare.make_testnet(tmp_path / "net", OPTIONS)
    document = json.loads((tmp_path / "net" / "testnet.json").read_text())
    assert sorted(document) == ["accounts", "genesis", "miners", "nodes", "pid", "seed", "version"]
    assert plan_of(read_record(tmp_path / "net")).options.seed == "prepare"
    assert document["pid"] is None


def test_the_last_testnet_is_found_without_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    first = prepare.fresh_folder()
    first.mkdir(parents=True)
    prepare.make_current(first)
    second = prepare.fresh_folder()
    assert second != first
    second.mkdir()
    prepare.make_current(second)
    assert prepare.current_folder() == second.resolve()
