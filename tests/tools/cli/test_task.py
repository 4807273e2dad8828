"""Asking a model from the command line, down to the last bit of the answer."""

import json

import pytest

from chain.execution import queries
from chain.reasons import Reason
from chain.types.transaction import SubmitTask, Transaction, sign_transaction
from genesis.digits import load_digits
from genesis.registry import digits_model
from tests.tools.keys import ALICE, MINER
from tests.tools.miner.local_chain import LocalChain
from tests.tools.miner.test_run import miner_of
from tools.cli import submission, task


@pytest.fixture
def words(served, alice_key, monkeypatch):
    """`task submit` for Alice at a node that moves on with every call."""
    monkeypatch.setattr(submission, "POLL_SECONDS", 0.0)
    monkeypatch.setattr(task, "POLL_SECONDS", 0.0)
    key, password = alice_key
    return ("task", "submit", "--rpc", served.url, "--key", key, "--password-file", password)


def working_miner(served):
    miner = miner_of(served.node, chain=LocalChain(served.node))

    async def at_once(blocking):
        return blocking()

    miner.offload = at_once
    return miner


def test_a_task_is_answered_proven_and_checked(headrace, served, words):
    served.miner = working_miner(served)
    result = headrace(*words, "--digits", "0,5,17", "--check", "--json")
    document = result.document
    assert document["task"]["status"] == "ANSWERED"
    assert document["equals_reference"] is True
    assert document["labels"] == [int(load_digits().labels[n]) for n in (0, 5, 17)]
    assert len(document["answers"]) == 3
    served.miner = None
    shown = headrace("task", "show", document["task"]["id"], "--rpc", served.url, "--check")
    assert "the reference backend gives the same bits" in shown.out
    story = headrace("why", document["task"]["id"], "--rpc", served.url)
    names = ["TASK_SUBMITTED", "TASK_ASSIGNED", "TASK_COMMITTED", "TASK_ANSWERED", "TASK_PAID"]
    positions = [story.out.index(name) for name in names]
    assert positions == sorted(positions)
    commit = headrace("why", document["task"]["commit"], "--rpc", served.url, "--json").document
    assert commit["kind"] == "commit"
    assert "WORK_PROVEN" in [event["reason"] for event in commit["events"]]


def test_progress_is_told_while_waiting(headrace, served, words):
    served.miner = working_miner(served)
    result = headrace(*words, "--digits", "3", "--wait")
    assert result.code == 0
    assert "proven and paid" in result.err
    assert "label" in result.out


def test_without_wait_the_id_is_enough(headrace, served, words):
    document = headrace(*words, "--digits", "1", "--payment", "2", "--json").document
    sent = served.node.mempool.get(bytes.fromhex(document["id"]))
    assert isinstance(sent.transaction.body, SubmitTask)
    assert sent.transaction.body.payment == 2_000_000


@pytest.mark.parametrize(
    ("content", "suffix", "rows"),
    [
        (bytes(128), ".bin", 2),
        (json.dumps([[0] * 64, [16] * 64]).encode(), ".json", 2),
        (bytes(127), ".bin", None),
        (b"", ".bin", None),
        (json.dumps([[17] * 64]).encode(), ".json", None),
        (json.dumps([[0] * 63]).encode(), ".json", None),
        (json.dumps([[1.5] * 64]).encode(), ".json", None),
        (b"{", ".json", None),
    ],
)
def test_inputs_from_a_file(headrace, served, words, tmp_path, content, suffix, rows):
    path = tmp_path / f"input{suffix}"
    path.write_bytes(content)
    result = headrace(*words, "--file", path, "--json")
    if rows is None:
        assert (result.code, result.error["code"]) == (2, "USAGE")
        assert not served.node.sent
    else:
        assert result.document["rows"] == rows


@pytest.mark.parametrize("digits", ["", "x", "-1", "1797", "1,,2", "9" * 30])
def test_a_wrong_number_is_a_usage_error(headrace, served, words, digits):
    assert headrace(*words, "--digits", digits).code == 2


def test_a_task_nobody_serves_is_priced_all_the_same(headrace, served):
    quote = headrace("task", "quote", "--rows", "3", "--rpc", served.url, "--json").document
    assert quote["miners"] == 0
    assert quote["price"] > 0
    assert "digits-1" in headrace("task", "quote", "--rpc", served.url).out
    assert headrace("task", "quote", "--rows", "3", "--model", "x", "--rpc", served.url).code == 2
    assert headrace("task", "quote", "--rows", "60000", "--rpc", served.url).code == 2


def test_an_underpaid_task_says_why_on_the_ledger(headrace, served, words):
    assert headrace(*words, "--digits", "1", "--payment", "0.000001").code == 2, "the command asks first"
    body = SubmitTask(digits_model().id, 1, load_digits().images[:1].tobytes(), 1)
    chain_id = served.node.genesis.params.chain_id
    signed = sign_transaction(Transaction(chain_id, ALICE.public_key, 0, 100, 0, body), ALICE)
    assert served.node.mempool.add(signed, served.node.state) is Reason.OK
    served.node.produce()
    story = headrace("why", signed.id.hex(), "--rpc", served.url)
    assert "TASK_PAYMENT_TOO_LOW" in story.out
    shown = headrace("task", "show", signed.id.hex(), "--rpc", served.url, "--json")
    assert (shown.code, shown.error["code"]) == (1, "TASK_PAYMENT_TOO_LOW")
    assert queries.task(served.node.state, signed.id) is None


def test_the_miners_story_is_told(headrace, served):
    served.miner = working_miner(served)
    for _ in range(4):
        headrace("status", "--rpc", served.url)
    served.miner = None
    story = headrace("why", MINER.public_key.hex(), "--rpc", served.url)
    assert story.out.startswith("miner ")
    assert "MINER_REGISTERED" in story.out
    miners = headrace("rpc", "miners", "--rpc", served.url, "--json").document
    assert miners[0]["status"] == "ACTIVE"


def test_an_unknown_name_is_said_to_be_unknown(headrace, served):
    for name, code in (("00" * 32, "NOT_FOUND"), ("zz", "INVALID_PARAMS"), ("00", "INVALID_PARAMS")):
        result = headrace("why", name, "--rpc", served.url, "--json")
        assert (result.code, result.error["code"]) == (1 if code == "NOT_FOUND" else 2, code)
