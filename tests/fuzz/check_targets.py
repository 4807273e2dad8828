"""Decoders with the check behind them: a stranger's proof is read, and held against what we know.

A proof binds: nobody can change one and have it accepted. So a canary of these sits right behind the decoder.
"""

import random
from functools import cache
from typing import Final

from chain.codec import decode, encode, encode_fields
from chain.msgpack_reader import DecodeError
from chain.state.chunks import Checked, ChunkError, Wanted, check_piece, make_piece
from chain.state.proof import StateProof, StateProofError, verify_proof
from chain.state.tree import StateTree
from chain.types.block import Header
from consensus.sync.light import ChainProof, TrustedCommittee, verify_chain_proof
from consensus.sync.light import ProofError as ChainProofError
from consensus.sync.snapshots import PiecesResponse
from pouw.proofs.proof import Proof, ProofError
from pouw.proofs.verifier import check_proof
from tests.consensus.chains import COMMITTEES, PARAMS, chain_of, proven
from tests.fuzz.target import LIMIT, Target, fields_of
from tests.pouw.world import SEED, Case, commons_job, make_case, paid_job

SAMPLES: Final = 2
KEY: Final = b"key 7"


@cache
def _case() -> Case:
    return make_case([paid_job(0), commons_job(0)])


def _check_work(data: bytes) -> Proof:
    proof = Proof.from_fields(fields_of(data), max_bytes=LIMIT)
    check_proof(_case().statement, proof, seed=SEED, samples=SAMPLES)
    return proof


def _works(_: random.Random) -> list[bytes]:
    return [encode_fields(_case().prove(samples=SAMPLES).to_fields())]


@cache
def _state() -> StateTree:
    return StateTree.empty().updated({b"key %d" % i: b"value %d" % i for i in range(40)})


def _check_state(data: bytes) -> bytes | None:
    return verify_proof(_state().root, KEY, StateProof.from_fields(fields_of(data)))


def _states(_: random.Random) -> list[bytes]:
    return [encode_fields(_state().prove(KEY).to_fields())]


@cache
def _wanted() -> tuple[Wanted, ...]:
    """The whole state, and one child of its root."""
    return Wanted(b"", _state().root), Wanted(b"\x03", _state().subtree(b"\x03").digest)


def _check_pieces(data: bytes) -> list[Checked]:
    pieces = decode(PiecesResponse, data, limit=LIMIT).pieces
    return [
        check_piece(piece, want, StateTree.empty()) for piece, want in zip(pieces, _wanted(), strict=False)
    ]


def _pieces(_: random.Random) -> list[bytes]:
    pieces = tuple(piece for want in _wanted() if (piece := make_piece(_state(), want.place)))
    return [encode(PiecesResponse(pieces)), encode(PiecesResponse(pieces[:1]))]


def _check_chain(data: bytes) -> Header:
    proof = decode(ChainProof, data, limit=LIMIT)
    return verify_chain_proof(proof, TrustedCommittee(0, COMMITTEES[0]), params=PARAMS)


def _chains(_: random.Random) -> list[bytes]:
    chain = chain_of(7, direct=lambda height: height != 5)
    proofs = [proven(chain, height) for height in (2, 5, 7)]
    return [encode(proof) for proof in proofs if proof is not None]


CHECKS: Final[dict[str, Target]] = {
    "checked-work": Target(_check_work, (DecodeError, ProofError), _works),
    "checked-state": Target(_check_state, (DecodeError, StateProofError), _states),
    "checked-pieces": Target(_check_pieces, (DecodeError, ChunkError), _pieces),
    "checked-chain": Target(_check_chain, (DecodeError, ChainProofError), _chains),
}
