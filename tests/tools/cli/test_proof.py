"""A balance proven to a stranger who holds nothing but the genesis file."""

import json

import pytest

from chain.address import encode_address
from chain.codec import encode
from genesis.document import from_json, to_json
from tests.tools.chain_node import FUNDS, PREFIX, chain_node
from tests.tools.keys import ALICE, BOB
from tools.balance_proof import ProofInvalid, parse_proof, verify_balance


@pytest.fixture
def genesis_file(served, tmp_path):
    path = tmp_path / "genesis.json"
    path.write_text(to_json(served.node.genesis))
    return path


@pytest.fixture
def proof_of(headrace, served, tmp_path):
    def make(key):
        out = tmp_path / f"{key.public_key.hex()[:8]}.json"
        address = encode_address(key.public_key, prefix=PREFIX)
        assert headrace("proof", "balance", address, "--out", out, "--rpc", served.url).code == 0
        return out

    return make


@pytest.mark.parametrize("blocks", [1, 9, 10, 11, 25])
def test_a_balance_is_proven_offline_at_any_height(headrace, served, genesis_file, proof_of, blocks):
    served.node.produce(blocks)
    out = proof_of(ALICE)
    served.stop()
    proven = headrace("proof", "verify", out, "--genesis", genesis_file, "--json").document
    assert (proven["balance"], proven["height"], proven["exists"]) == (FUNDS, blocks, True)
    assert proven["block"] == served.node.head.digest.hex()
    assert proven["address"] == encode_address(ALICE.public_key, prefix=PREFIX)


def test_an_unused_account_is_proven_to_be_empty(headrace, served, genesis_file, proof_of):
    served.node.produce()
    out = proof_of(BOB)
    proven = headrace("proof", "verify", out, "--genesis", genesis_file, "--json").document
    assert (proven["balance"], proven["exists"]) == (0, False)
    assert "never used" in headrace("proof", "verify", out, "--genesis", genesis_file).out


def test_a_proof_is_of_one_chain(headrace, served, proof_of, tmp_path):
    served.node.produce()
    other = tmp_path / "other.json"
    other.write_text(to_json(chain_node(max_task_rows=7).genesis))
    result = headrace("proof", "verify", proof_of(ALICE), "--genesis", other, "--json")
    assert (result.code, result.error["code"]) == (1, "WRONG_GENESIS")


def test_every_changed_byte_is_noticed(served, proof_of):
    served.node.produce(12)
    document = json.loads(proof_of(ALICE).read_text())
    genesis = from_json(to_json(served.node.genesis))
    for member in ("chain", "state", "public_key"):
        raw = bytearray.fromhex(document[member])
        for position in range(0, len(raw), max(1, len(raw) // 60)):
            changed = bytearray(raw)
            changed[position] ^= 1
            text = json.dumps(document | {member: changed.hex()})
            with pytest.raises(ProofInvalid):
                verify_balance(parse_proof(text), genesis)


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", '{"format": "x"}', "[" * 5000, "\ud800".encode(errors="surrogatepass")]
)
def test_a_file_that_is_no_proof_is_named(headrace, served, genesis_file, tmp_path, text):
    path = tmp_path / "proof.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    result = headrace("proof", "verify", path, "--genesis", genesis_file, "--json")
    assert result.code == 1
    assert result.error["code"] in ("NOT_A_PROOF", "IO")


def test_a_member_that_proves_nothing_is_refused(served, proof_of):
    served.node.produce()
    document = json.loads(proof_of(ALICE).read_text())
    with pytest.raises(ProofInvalid, match="a member 'balance' that proves nothing"):
        parse_proof(json.dumps(document | {"balance": 10**9}))


def test_a_proof_file_is_never_overwritten(headrace, served, proof_of):
    served.node.produce()
    out = proof_of(ALICE)
    before = out.read_bytes()
    address = encode_address(ALICE.public_key, prefix=PREFIX)
    again = headrace("proof", "balance", address, "--out", out, "--rpc", served.url, "--json")
    assert (again.code, again.error["code"]) == (4, "EXISTS")
    assert out.read_bytes() == before


def test_nothing_is_proven_of_genesis_alone(headrace, served, tmp_path):
    address = encode_address(ALICE.public_key, prefix=PREFIX)
    words = ("proof", "balance", address, "--out", tmp_path / "p", "--rpc", served.url, "--json")
    assert headrace(*words).error["code"] == "NOT_READY"


def test_the_certificate_counts_not_the_file(served, proof_of):
    """A chain proof whose certificate lost its signatures proves nothing."""
    from dataclasses import replace

    from chain.codec import decode
    from consensus.sync.light import ChainProof

    served.node.produce(3)
    proof = parse_proof(proof_of(ALICE).read_text())
    chain = decode(ChainProof, proof.chain, limit=1 << 20)
    empty = replace(chain, certificate=replace(chain.certificate, signatures=()))
    with pytest.raises(ProofInvalid) as caught:
        verify_balance(replace(proof, chain=encode(empty)), served.node.genesis)
    assert caught.value.code == "BAD_CERTIFICATE"
