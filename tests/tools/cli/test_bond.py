"""What a miner has at risk, and more of it, from the command line."""

import pytest

from chain.address import encode_address
from chain.crypto.keystore import KeyRole
from chain.execution import queries
from chain.execution.records import MinerStatus
from chain.reasons import Reason
from chain.types.transaction import RegisterMiner, Transaction, possession_message, sign_transaction
from tests.tools.chain_node import FUNDS, PARAMS, PREFIX
from tests.tools.cli.conftest import key_file
from tests.tools.keys import ALICE, BOB, CONSENSUS, MINER
from tests.tools.miner.local_chain import LocalChain
from tests.tools.miner.test_run import miner_of
from tools.amounts import coins
from tools.cli import submission
from tools.testnet.record import MinerRecord, NodeRecord, TestnetRecord, write_record

ADDRESS = encode_address(MINER.public_key, prefix=PREFIX)
LEAST = PARAMS.min_bond
COIN = 10**6


@pytest.fixture
def words(served, tmp_path, monkeypatch):
    monkeypatch.setattr(submission, "POLL_SECONDS", 0.0)
    key, password = key_file(tmp_path, "miner", MINER, KeyRole.MINER)
    return ("--rpc", served.url, "--key", key, "--password-file", password)


def register(node, bond=LEAST):
    word = CONSENSUS.sign(possession_message(PARAMS.chain_id, MINER.public_key))
    body = RegisterMiner(CONSENSUS.public_key, word, bond, node.models.ids)
    nonce = queries.account(node.state, MINER.public_key).nonce
    transaction = Transaction(PARAMS.chain_id, MINER.public_key, nonce, 100, 0, body)
    assert node.mempool.add(sign_transaction(transaction, MINER), node.state) is Reason.OK
    node.produce()


def working(node):
    async def at_once(blocking):
        return blocking()

    miner = miner_of(node, chain=LocalChain(node))
    miner.offload = at_once
    return miner


def test_a_bond_grows_under_the_same_key_and_serves_the_same_models(headrace, served, words):
    register(served.node)
    before = queries.miner(served.node.state, MINER.public_key)
    document = headrace("miner", "bond", "12.5", *words, "--json").document
    assert document["added"] == 12_500_000
    assert document["bond"] == LEAST + 12_500_000
    served.node.produce()
    after = queries.miner(served.node.state, MINER.public_key)
    assert (after.bond, after.status) == (LEAST + 12_500_000, MinerStatus.ACTIVE)
    assert (after.consensus_key, after.models) == (before.consensus_key, before.models)


def test_a_working_miners_bond_grows_while_it_works(headrace, served, words):
    register(served.node)
    served.miner = working(served.node)
    result = headrace("miner", "bond", "100", *words, "--wait")
    assert result.code == 0, result.err
    assert "100 coins" in result.out
    assert f"headrace miner status {ADDRESS} --rpc {served.url}" in result.out
    # Both send with one account: whoever finds the nonce taken takes the next one.
    assert set(served.miner.tally.refusals) <= {"NONCE_TAKEN", "REPLACEMENT_UNDERPRICED"}
    served.miner = None
    assert queries.miner(served.node.state, MINER.public_key).bond == LEAST + 100 * COIN


def test_status_shows_what_is_at_stake_and_what_is_free(headrace, served, words):
    register(served.node)
    served.miner = working(served.node)
    for _ in range(30):
        document = headrace("miner", "status", ADDRESS, "--rpc", served.url, "--json").document
        if document["commits"]:
            break
    served.miner = None
    document = headrace("miner", "status", ADDRESS, "--rpc", served.url, "--json").document
    at_stake = sum(commit["stake"] for commit in document["commits"])
    assert document["at_stake"] == at_stake > 0
    assert document["free"] == document["bond"] - at_stake
    assert document["miner"]["at_stake"] == at_stake
    shown = headrace("miner", "status", ADDRESS, "--rpc", served.url).out
    assert f"at stake       {coins(at_stake)} coins in {len(document['commits'])} open commits" in shown
    assert "of it at stake in" in headrace("why", ADDRESS, "--rpc", served.url).out
    told = headrace("why", document["commits"][0]["id"], "--rpc", served.url).out
    assert "coins of the bond are at stake" in told


def test_a_suspended_miner_is_told_what_it_needs_and_is_active_with_it(headrace, served, words):
    register(served.node)
    served.miner = working(served.node)

    def state():
        return queries.miner(served.node.state, MINER.public_key)

    for _ in range(30):
        headrace("status", "--rpc", served.url)
        if state().open_commits:
            break
    served.miner = None
    served.node.mempool = type(served.node.mempool)(served.node.genesis.params)
    served.node.produce(PARAMS.beacon_delay + PARAMS.proof_window + 1)
    assert state().status is MinerStatus.SUSPENDED
    missing = LEAST - state().bond
    shown = headrace("miner", "status", ADDRESS, "--rpc", served.url).out
    assert f"headrace miner bond {coins(missing)}" in shown
    error = headrace("miner", "bond", "0.000001", *words, "--json").error
    assert error["code"] == "BOND_TOO_LOW"
    assert error["next"] == f"add {coins(missing)} coins at least"
    assert headrace("miner", "bond", f"{coins(missing)}", *words).code == 0
    served.node.produce()
    assert (state().status, state().bond) == (MinerStatus.ACTIVE, LEAST)


@pytest.mark.parametrize(
    ("amount", "code"), [("0", "USAGE"), ("1e3", "USAGE"), (str(FUNDS // COIN), "INSUFFICIENT_FUNDS")]
)
def test_an_amount_that_cannot_be_added_is_refused_here(headrace, served, words, amount, code):
    register(served.node)
    assert headrace("miner", "bond", amount, *words, "--json").error["code"] == code
    assert len(served.node.mempool) == 0


def test_who_is_no_miner_is_told_how_to_become_one(headrace, served, words):
    for command in (("bond", "1", *words), ("status", ADDRESS, "--rpc", served.url)):
        error = headrace("miner", *command, "--json").error
        assert error["code"] == "NOT_A_MINER"
        assert "headrace miner run" in error["next"]


def test_only_the_miners_own_node_can_speak_for_its_key(headrace, served, words):
    register(served.node)
    served.node.consensus_key = BOB.public_key
    error = headrace("miner", "bond", "1", *words, "--json").error
    assert (error["code"], error["next"]) == ("OTHER_CONSENSUS_KEY", "name the miner's own node with --rpc")
    served.node.consensus_key = None
    assert "verifies and does not vote" in headrace("miner", "bond", "1", *words, "--json").error["message"]


def test_a_miner_of_a_local_testnet_brings_its_node_and_its_key(headrace, served, tmp_path):
    register(served.node)
    keys = tmp_path / "m0" / "keys"
    keys.mkdir(parents=True)
    _, password = key_file(keys, "miner", MINER, KeyRole.MINER)
    password.rename(keys / "password")
    dead = NodeRecord("v0", "http://127.0.0.1:9", 0, "", 0, str(tmp_path), "", ALICE.public_key.hex(), None)
    own = NodeRecord("v1", served.url, 0, "", 0, str(tmp_path), "", CONSENSUS.public_key.hex(), None)
    miner = MinerRecord("m0", "v1", ADDRESS, 0.1, str(tmp_path / "m0"), "", None)
    write_record(tmp_path, TestnetRecord(1, "1", "", (dead, own), (miner,), (), None))
    result = headrace("miner", "bond", "1", "--key", "m0", "--testnet", tmp_path)
    assert result.code == 0, result.err
    assert len(served.node.mempool) == 1
