"""Every decoder that meets bytes from outside, as a function of bytes for a fuzzer to call.

A target reads its input, or raises what its decoder's own docstring names: those are its refusals, and
anything else is a finding. Where bytes have one canonical form, what was read must be written as the same.
"""

import json
import os
import random
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any, Final

from chain.address import AddressError, decode_address, encode_address
from chain.codec import decode, decode_fields, encode, encode_fields
from chain.crypto.keystore import (
    ENTROPY_BYTES,
    KdfStrength,
    KeyRole,
    KeystoreError,
    read_key_header,
    write_key_file,
)
from chain.msgpack_reader import DecodeError
from chain.state.proof import StateProof, StateProofError
from chain.types.block import Block
from chain.types.receipt import BlockOutcome
from chain.types.transaction import SignedTransaction
from consensus.messages import (
    Certificate,
    ConsensusMessage,
    decode_message,
    encode_message,
    head_of,
    read_head,
)
from consensus.signing.guard_log import Record, RecordKind, read_log, write_record
from consensus.sync.light import ChainProof
from consensus.sync.requests import BlocksRequest, BlocksResponse, FetchRequest, FetchResponse, Status
from genesis.document import GenesisDocument, GenesisError, from_json, to_json
from p2p.network import PeerId
from p2p.wire import control
from p2p.wire.faults import Fault, PeerFault
from pouw.proofs.proof import Proof, ProofError
from tests.fuzz.records import some_record
from tests.pouw.world import usual_case
from tests.tools.chain_node import PREFIX, chain_node
from tests.tools.keys import ALICE
from tools.balance_proof import FORMAT, BalanceProof, ProofInvalid, parse_proof
from tools.importer.errors import ModelImportError
from tools.importer.safetensors import TensorFile
from tools.node.gossip import Batch
from tools.rpc import wire
from tools.rpc.catalog import registry
from tools.rpc.dispatch import parse
from tools.rpc.faults import RpcFault
from tools.testnet.control import MAX_ORDER_BYTES, ControlError, parse_order

LIMIT: Final = 1 << 22
SEEDS: Final = 24
"""Seeds of a record type."""


class Refused(Exception):  # noqa: N818 - reads as a sentence where it is raised
    """A target's own way to refuse, where its decoder tells by what it returns."""


@dataclass(frozen=True, slots=True)
class Target:
    """A decoder under test.

    Args:
        read: the decoder.
        refusals: what it raises by contract.
        seeds: inputs that it accepts, drawn from a generator.
        write: its inverse, where bytes have one canonical form; else whatever uses what was read.
        canonical: whether `write` must give the very bytes that were read.
        longest: bytes of an input worth trying.
    """

    read: Callable[[bytes], Any]
    refusals: tuple[type[Exception], ...]
    seeds: Callable[[random.Random], list[bytes]]
    write: Callable[[Any], object] = repr
    canonical: bool = False
    longest: int = 4096

    def accepts(self, data: bytes) -> bool:
        """Whether the input is accepted; raises only what is a finding."""
        return self.refusal(data) is None

    def refusal(self, data: bytes) -> Exception | None:
        """Why the input is refused, or None; raises only what is a finding."""
        try:
            value = self.read(data)
        except self.refusals as refused:
            return refused
        written = self.write(value)
        assert not self.canonical or written == data, f"{data.hex()} is read as {value}, of other bytes"
        return None

    def attempt(self, data: bytes) -> None:
        """Read the input and drop it: what a decoder costs, and nothing else."""
        with suppress(*self.refusals):
            self.read(data)


def codec_target(kind: Any) -> Target:
    """A record type of the canonical codec."""
    return Target(
        read=lambda data: decode(kind, data, limit=LIMIT),
        refusals=(DecodeError,),
        seeds=lambda chance: [encode(some_record(kind, chance)) for _ in range(SEEDS)],
        write=encode,
        canonical=True,
    )


def _fields(data: bytes) -> Any:
    return decode_fields(data, limit=LIMIT)


def _messages(chance: random.Random) -> list[bytes]:
    return [encode_message(some_record(ConsensusMessage, chance)) for _ in range(SEEDS)]


def _message_written(message: ConsensusMessage) -> bytes:
    written = encode_message(message)
    assert read_head(written) == head_of(message)
    return written


def _work_proofs(_: random.Random) -> list[bytes]:
    return [encode_fields(usual_case().prove(samples=samples).to_fields()) for samples in (1, 3)]


def _state_proofs(chance: random.Random) -> list[bytes]:
    values: list[bytes | None] = [None, b"", chance.randbytes(9)]
    proofs = [StateProof((chance.randbytes(480),), chance.randbytes(128), value) for value in values]
    return [encode_fields(proof.to_fields()) for proof in proofs]


def _controls(chance: random.Random) -> list[bytes]:
    hello = control.Hello(chance.randbytes(32), chance.randbytes(8), ("/ip4/127.0.0.1/tcp/1",))
    messages = [hello, control.Ping(1), control.Pong(2), control.Goodbye(Fault.MALFORMED, "no")]
    peers = control.Peers(((PeerId("12D3KooW"), ("/ip4/10.0.0.1/tcp/9",)),))
    return [control.encode(message) for message in (*messages, peers)]


def _rpc(data: bytes) -> object:
    request = parse(data)
    method = registry().get(str(request.get("method"))) if isinstance(request, dict) else None
    params = request.get("params") if isinstance(request, dict) else None
    if method is None or not isinstance(params, (list, dict)):
        raise Refused
    return method.arguments(params, prefix=PREFIX)


def _rpcs(_: random.Random) -> list[bytes]:
    address = encode_address(ALICE.public_key, prefix=PREFIX)
    calls: list[tuple[str, Any]] = [
        ("status", []),
        ("block", {"height": 3}),
        ("account", {"address": address}),
        ("account", [address]),
        ("transaction", ["00" * 32]),
        ("send_transaction", ["00" * 40]),
    ]
    bodies = [{"jsonrpc": "2.0", "id": 1, "method": name, "params": params} for name, params in calls]
    return [json.dumps(body).encode() for body in bodies]


def _written_twice(document: GenesisDocument) -> None:
    assert from_json(to_json(document)) == document


def _balance_proofs(chance: random.Random) -> list[bytes]:
    proof = BalanceProof(FORMAT, chance.randbytes(32), chance.randbytes(32), b"chain", b"state")
    return [json.dumps(wire.write(BalanceProof, proof, prefix=PREFIX)).encode()]


def _guard_log(data: bytes) -> bytes:
    reading = read_log(data)
    written = b"".join(map(write_record, reading.records))
    assert data[: len(written)] == written
    if reading.torn is not None or reading.damage is not None:
        raise Refused
    return written


def _guard_logs(chance: random.Random) -> list[bytes]:
    kinds = [RecordKind.OWNER, RecordKind.NOTARIZE, RecordKind.NULLIFY, RecordKind.FINALIZE]
    records = [Record(kind, 0, i, chance.randbytes(32), chance.randbytes(9)) for i, kind in enumerate(kinds)]
    return [b"".join(write_record(record) for record in records)]


@cache
def _scratch() -> Path:
    """A file of this process alone, in memory where the machine has such a place."""
    shared = Path("/dev/shm")
    folder = tempfile.mkdtemp(prefix="headrace-fuzz-", dir=shared if shared.is_dir() else None)
    return Path(folder) / f"{os.getpid()}.bin"


def _written(data: bytes) -> Path:
    path = _scratch()
    path.touch(mode=0o600)
    path.write_bytes(data)
    return path


def _key_files(chance: random.Random) -> list[bytes]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "key.json"
        entropy = chance.randbytes(ENTROPY_BYTES)
        write_key_file(
            path, ALICE, role=KeyRole.ACCOUNT, password=b"secret", kdf=KdfStrength.LIGHT, entropy=entropy
        )
        return [path.read_bytes()]


def _tensor_files(_: random.Random) -> list[bytes]:
    header = json.dumps({"w": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}}).encode()
    return [len(header).to_bytes(8, "little") + header + bytes(16)]


TARGETS: Final[dict[str, Target]] = {
    "transaction": codec_target(SignedTransaction),
    "transactions": codec_target(Batch),
    "block": codec_target(Block),
    "outcome": codec_target(BlockOutcome),
    "certificate": codec_target(Certificate),
    "consensus": Target(
        partial(decode_message, limit=LIMIT), (DecodeError,), _messages, _message_written, canonical=True
    ),
    "consensus-head": Target(read_head, (DecodeError,), _messages),
    "fetch-request": codec_target(FetchRequest),
    "fetch-response": codec_target(FetchResponse),
    "status": codec_target(Status),
    "blocks-request": codec_target(BlocksRequest),
    "blocks-response": codec_target(BlocksResponse),
    "chain-proof": codec_target(ChainProof),
    "fields": Target(
        _fields,
        (DecodeError,),
        lambda chance: [*_state_proofs(chance), *_work_proofs(chance)],
        encode_fields,
        canonical=True,
        longest=8192,
    ),
    "work-proof": Target(
        lambda data: Proof.from_fields(_fields(data), max_bytes=LIMIT),
        (DecodeError, ProofError),
        _work_proofs,
        lambda proof: encode_fields(proof.to_fields()),
        canonical=True,
        longest=16_384,
    ),
    "state-proof": Target(
        lambda data: StateProof.from_fields(_fields(data)),
        (DecodeError, StateProofError),
        _state_proofs,
        lambda proof: encode_fields(proof.to_fields()),
        canonical=True,
    ),
    "control": Target(control.decode, (PeerFault,), _controls, control.encode),
    "rpc": Target(_rpc, (RpcFault, Refused), _rpcs),
    "genesis": Target(
        lambda data: from_json(data.decode("utf-8")),
        (GenesisError, UnicodeDecodeError),
        lambda _: [to_json(chain_node().genesis).encode()],
        _written_twice,
    ),
    "balance-proof": Target(
        lambda data: parse_proof(data.decode("utf-8")), (ProofInvalid, UnicodeDecodeError), _balance_proofs
    ),
    "guard-log": Target(_guard_log, (Refused,), _guard_logs, bytes, canonical=True),
    "address": Target(
        lambda data: decode_address(data.decode("utf-8"), prefix=PREFIX),
        (AddressError, UnicodeDecodeError),
        lambda _: [encode_address(ALICE.public_key, prefix=PREFIX).encode()],
        longest=128,
    ),
    "order": Target(
        parse_order, (ControlError,), lambda _: [b'{"do": "stop", "name": "node-1"}'], longest=MAX_ORDER_BYTES
    ),
    "key-file": Target(lambda data: read_key_header(_written(data)), (KeystoreError,), _key_files),
    "tensor-file": Target(lambda data: TensorFile(_written(data)), (ModelImportError,), _tensor_files),
}
"""By name; every name has a canary too."""
