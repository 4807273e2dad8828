"""`headrace evidence`: who contradicted itself, for people and programs."""

from chain.types.evidence import evidence_of
from chain.types.statement import Kind, Statement
from chain.types.transaction import report_of
from tests.tools.chain_node import PARAMS
from tests.tools.keys import CONSENSUS

A, B = b"\xaa" * 32, b"\xbb" * 32


def says(digest):
    statement = Statement(Kind.NOTARIZE, 0, 3, digest)
    return statement, CONSENSUS.sign(statement.signing_bytes(PARAMS.chain_id))


def test_nobody_was_convicted(headrace, served):
    served.node.produce()
    assert headrace("evidence", "--rpc", served.url).out == "no consensus key was ever convicted\n"
    assert headrace("evidence", "--rpc", served.url, "--json").document == {"convictions": []}


def test_two_faces_are_listed_and_explained(headrace, served):
    found = evidence_of(CONSENSUS.public_key, says(A), says(B))
    assert found is not None
    report = report_of(found, chain_id=PARAMS.chain_id)
    served.node.reports.append(report)
    served.node.produce()
    (conviction,) = headrace("evidence", "--rpc", served.url, "--json").document["convictions"]
    key = CONSENSUS.public_key.hex()
    assert (conviction["consensus_key"], conviction["height"], conviction["view"]) == (key, 1, 3)
    assert (conviction["miner"], conviction["burned"], conviction["seats"]) == (None, 0, 16)
    assert conviction["report"] == report.id.hex()
    shown = headrace("evidence", "--rpc", served.url).out
    assert f"consensus key {key}, no miner" in shown
    assert "convicted at height 1, 0 coins burned; 16 seats until the epoch ends" in shown
    assert f"epoch 0, view 3: {conviction['first']} and {conviction['second']}" in shown
    assert report.id.hex() in headrace("why", key, "--rpc", served.url).out


def test_without_a_node_there_is_one_error(headrace):
    result = headrace("evidence", "--rpc", "http://127.0.0.1:9", "--json")
    assert (result.code, result.out, result.error["code"]) == (3, "", "UNREACHABLE")
