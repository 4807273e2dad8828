"""A balance that a stranger can check: offline, from the genesis file alone.

```
 genesis file ── first committee ──► chain proof: one certificate an epoch ──► a header ── state root
                                                                                              │
 address ── key of the account ──────────► state proof: the path to it ──────────────────────┘
```

The file holds proofs and no claims: what it says is computed by whoever checks it.
"""

from dataclasses import dataclass, fields
from typing import Annotated, Final

from chain.address import encode_address
from chain.codec import AtMost, Exactly, Hash32, decode, decode_fields
from chain.execution import state_keys
from chain.execution.records import Account
from chain.json_text import read_json
from chain.msgpack_reader import DecodeError
from chain.state.proof import StateProof, StateProofError, verify_proof
from consensus.sync.light import MAX_PROOF_BYTES, ChainProof, ProofError, TrustedCommittee, verify_chain_proof
from genesis.document import GenesisDocument
from tools.rpc import wire
from tools.rpc.messages import Encoded

FORMAT: Final = "headrace-balance-proof/1"
MAX_FILE_BYTES: Final = 1 << 25


class ProofInvalid(ValueError):  # noqa: N818 - reads as a sentence where it is caught
    """A proof that convinces nobody; `code` names the check that failed."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class BalanceProof:
    """What is handed to the stranger."""

    format: Annotated[str, AtMost(64)]
    genesis: Hash32
    """Digest of the genesis document, so that a wrong file is noticed at once."""
    public_key: Annotated[bytes, Exactly(32)]
    chain: Encoded
    """The encoded `ChainProof` of a header."""
    state: Encoded
    """The encoded `StateProof` of the account under that header's state root."""


@dataclass(frozen=True, slots=True)
class ProvenBalance:
    """What a checked proof says."""

    address: str
    exists: bool
    """False: the proof shows that nobody has ever used the account."""
    balance: int
    nonce: int
    height: int
    block: bytes
    timestamp_ms: int
    epochs: int
    """Committees that the chain of trust went through."""


def parse_proof(text: str) -> BalanceProof:
    """Read the text of a proof file.

    Raises:
        ProofInvalid: NOT_A_PROOF.
    """
    try:
        document = read_json(text)
        proof = wire.read(BalanceProof, document, prefix="")
    except ValueError as error:
        raise ProofInvalid("NOT_A_PROOF", f"the file is no balance proof: {error}") from None
    unknown = sorted(set(document) - {field.name for field in fields(BalanceProof)})
    if unknown:
        raise ProofInvalid("NOT_A_PROOF", f"the file has a member {unknown[0][:64]!a} that proves nothing")
    if proof.format != FORMAT:
        raise ProofInvalid(
            "NOT_A_PROOF", f"the file has format {proof.format[:64]!a}, this version reads {FORMAT}"
        )
    return proof


def verify_balance(proof: BalanceProof, genesis: GenesisDocument) -> ProvenBalance:
    """Check a proof against a genesis document.

    Raises:
        ProofInvalid: WRONG_GENESIS, MALFORMED, or the code of the chain proof's or state proof's fault.
    """
    if proof.genesis != genesis.digest:
        raise ProofInvalid(
            "WRONG_GENESIS",
            f"the proof is of chain {proof.genesis.hex()}, the file of {genesis.digest.hex()}",
        )
    trusted = TrustedCommittee(0, genesis.committee)
    try:
        chain = decode(ChainProof, proof.chain, limit=MAX_PROOF_BYTES)
        state = StateProof.from_fields(decode_fields(proof.state, limit=MAX_PROOF_BYTES))
        header = verify_chain_proof(chain, trusted, params=genesis.params)
        raw = verify_proof(header.state_root, state_keys.account(proof.public_key), state)
        account = Account(0, 0) if raw is None else decode(Account, raw, limit=1024)
    except DecodeError as error:
        raise ProofInvalid("MALFORMED", str(error)) from None
    except ProofError as error:
        raise ProofInvalid(error.reason.name, str(error)) from None
    except StateProofError as error:
        raise ProofInvalid(error.reason.name, str(error)) from None
    return ProvenBalance(
        address=encode_address(proof.public_key, prefix=genesis.params.address_prefix),
        exists=raw is not None,
        balance=account.balance,
        nonce=account.nonce,
        height=header.height,
        block=header.digest,
        timestamp_ms=header.timestamp_ms,
        epochs=len(chain.epochs) + 1,
    )
