"""Commands that talk to a node."""

import json

import click
import pytest

from chain.address import encode_address
from chain.reasons import Reason
from chain.types.transaction import Transfer
from tests.tools.chain_node import FUNDS, PREFIX
from tests.tools.keys import ALICE, BOB, CONSENSUS, MINER
from tools.amounts import coins
from tools.cli.options import Amount
from tools.testnet.record import AccountRecord, MinerRecord, NodeRecord, TestnetRecord, write_record


def test_status_for_people_and_programs(headrace, served):
    served.node.produce()
    shown = headrace("status", "--rpc", served.url)
    assert shown.code == 0
    assert "height" in shown.out
    document = headrace("status", "--rpc", served.url, "--json").document
    assert document["status"]["height"] == 1
    assert document["committee"]["from_genesis"] is True
    served.node.syncing = "37 blocks behind"
    assert "37 blocks behind" in headrace("status", "--rpc", served.url).out


def test_coins_are_sent_and_waited_for(headrace, served, alice_key, bob_address):
    key, password = alice_key
    words = (
        "tx",
        "send",
        "--rpc",
        served.url,
        "--key",
        key,
        "--password-file",
        password,
        "--to",
        bob_address,
    )
    sent = headrace(*words, "--amount", "1.5", "--json").document
    waiting = served.node.mempool.get(bytes.fromhex(sent["id"]))
    assert waiting.transaction.body == Transfer(BOB.public_key, 1_500_000)
    assert waiting.transaction.nonce == 0
    assert headrace(*words, "--amount", "2", "--json").document["nonce"] == 1
    served.node.produce()
    shown = headrace("rpc", "--rpc", served.url, "transaction", json.dumps([sent["id"]])).document
    assert (shown["height"], shown["reason"]) == (1, "OK")
    assert headrace("balance", bob_address, "--rpc", served.url, "--json").document["balance"] == 3_500_000


def test_a_refusal_gives_its_reason_and_a_way_out(headrace, served, alice_key, bob_address):
    key, password = alice_key
    served.node.verdict = Reason.INSUFFICIENT_FUNDS
    words = (
        "tx",
        "send",
        "--rpc",
        served.url,
        "--key",
        key,
        "--password-file",
        password,
        "--to",
        bob_address,
    )
    result = headrace(*words, "--amount", "1", "--json")
    assert (result.code, result.error["code"]) == (1, "INSUFFICIENT_FUNDS")
    assert result.error["next"].startswith("send less")


@pytest.mark.parametrize("address", ["hrl1qqqq", "hrt1qqqq", "x", ""])
def test_a_wrong_address_is_a_usage_error(headrace, served, alice_key, address):
    key, password = alice_key
    words = ("tx", "send", "--rpc", served.url, "--key", key, "--password-file", password, "--to", address)
    assert headrace(*words, "--amount", "1").code == 2


def test_balance_by_address_and_by_the_testnets_name(headrace, served, alice_key, tmp_path):
    address = encode_address(ALICE.public_key, prefix="hrt")
    assert headrace("balance", address, "--rpc", served.url, "--json").document["balance"] == FUNDS
    key, password = alice_key
    node = NodeRecord("v0", served.url, 0, "", 0, str(tmp_path), "", None, None)
    alice = AccountRecord("alice", address, 1000, str(key), str(password))
    write_record(tmp_path, TestnetRecord(1, "1", "", (node,), (), (alice,), None))
    assert "1000 coins" in headrace("balance", "alice", "--testnet", tmp_path).out
    sent = headrace("tx", "send", "--testnet", tmp_path, "--to", address, "--amount", "1", "--json")
    assert sent.code == 0


def test_a_folder_without_a_testnet_is_named(headrace, tmp_path):
    result = headrace("status", "--testnet", tmp_path, "--json")
    assert (result.code, result.error["code"]) == (1, "NO_TESTNET")
    (tmp_path / "testnet.json").write_text("[]")
    assert headrace("status", "--testnet", tmp_path, "--json").error["code"] == "NO_TESTNET"


def test_rpc_takes_json_only(headrace, served):
    assert headrace("rpc", "--rpc", served.url, "block", "{").code == 2
    assert headrace("rpc", "--rpc", served.url, "block", "[" * 20_000).code == 2
    assert headrace("rpc", "--rpc", served.url, "block", "5").code == 2
    assert headrace("rpc", "--rpc", served.url, "nope", "--json").error["code"] == "METHOD_NOT_FOUND"


@pytest.mark.parametrize(
    ("text", "amount"), [("1", 10**6), ("0.000001", 1), ("1.5", 1_500_000), (".5", None), ("1.0000001", None),
                         ("-1", None), ("1e3", None), ("", None), ("1.", None), ("99999999999999", None)],
)  # fmt: skip
def test_amounts_are_exact(text, amount):
    if amount is None:
        with pytest.raises(click.BadParameter):
            Amount().convert(text, None, None)
    else:
        assert Amount().convert(text, None, None) == amount
        assert Amount().convert(coins(amount), None, None) == amount


@pytest.fixture
def testnet(served, alice_key, tmp_path):
    """A folder that names the served node, an account and a miner."""
    key, password = alice_key
    node = NodeRecord("v0", served.url, 0, "", 0, str(tmp_path), "", CONSENSUS.public_key.hex(), None)
    address = encode_address(ALICE.public_key, prefix=PREFIX)
    alice = AccountRecord("alice", address, 1, str(key), str(password))
    bob = AccountRecord("bob", encode_address(BOB.public_key, prefix=PREFIX), 1, "", "")
    miner = MinerRecord("m0", "v0", encode_address(MINER.public_key, prefix=PREFIX), 0.1, "", "", None)
    write_record(tmp_path, TestnetRecord(1, "1", "", (node,), (miner,), (alice, bob), None))
    return tmp_path


def test_a_testnets_accounts_have_names_everywhere(headrace, served, testnet):
    sent = headrace("tx", "send", "--testnet", testnet, "--to", "bob", "--amount", "1.5")
    assert sent.code == 0, sent.err
    assert "1.5 coins" in sent.out
    assert f"--testnet {testnet}" in sent.out, "the command that it proposes works as it stands"
    served.node.produce()
    shown = headrace("balance", "bob", "--testnet", testnet, "--json").document
    assert shown["address"] == encode_address(BOB.public_key, prefix=PREFIX)
    assert headrace("why", "bob", "--testnet", testnet).out.startswith(f"account {shown['address']}")
    assert headrace("balance", "m0", "--testnet", testnet).code == 0
    assert headrace("why", "m0", "--testnet", testnet).code == 0


def test_an_unknown_name_is_answered_with_the_known_ones(headrace, testnet):
    for words in (("balance", "zoe"), ("proof", "balance", "zoe", "--out", testnet / "p.json")):
        result = headrace(*words, "--testnet", testnet, "--json")
        assert (result.code, result.error["code"]) == (2, "USAGE")
        assert "the testnet has alice, bob, m0" in result.error["message"]


def test_nothing_is_sent_for_nothing(headrace, served, testnet):
    result = headrace("tx", "send", "--testnet", testnet, "--to", "bob", "--amount", "0", "--json")
    assert (result.code, result.error["code"]) == (2, "USAGE")
    words = ("task", "submit", "--testnet", testnet, "--digits", "1", "--payment", "0", "--json")
    assert "below the price" in headrace(*words).error["message"]
    assert len(served.node.mempool) == 0


def test_an_id_has_64_digits(headrace, testnet):
    assert "64 hexadecimal digits" in headrace("task", "show", "3f1c", "--testnet", testnet).err
    missing = headrace("task", "show", "AB" * 32, "--testnet", testnet, "--json")
    assert (missing.code, missing.error["code"]) == (1, "NOT_FOUND")


def test_status_names_holders_and_work(headrace, served, testnet):
    shown = headrace("status", "--testnet", testnet).out
    assert "v0 (this node)" in shown
    assert "M units by 0 miners" in shown
    assert "concentration" in shown
    assert headrace("status", "--testnet", testnet, "--json").document["miners"] == []


def test_a_proposers_story_is_not_buried_under_its_fees(headrace, served, testnet):
    for _ in range(3):
        headrace("tx", "send", "--testnet", testnet, "--to", "bob", "--amount", "1")
        served.node.produce()
    shown = headrace("why", "v0", "--testnet", testnet).out
    assert "Not listed: 3 blocks" in shown
    assert "FEE_BURNED" not in shown


def test_a_group_alone_shows_its_help(headrace):
    result = headrace("tx")
    assert result.code == 2
    assert result.err.startswith("Usage: headrace tx")
