"""What other nodes send: transactions, blocks, votes, questions, answers, and who they say they are."""

import random
from functools import partial
from typing import Final

from libp2p.protocol_muxer.exceptions import MultiselectCommunicatorError

from chain.codec import encode_fields
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
from consensus.sync.light import ChainProof
from consensus.sync.requests import BlocksRequest, BlocksResponse, FetchRequest, FetchResponse, Status
from consensus.sync.snapshots import EpochsRequest, EpochsResponse, Offers, PiecesRequest, PiecesResponse
from p2p.addresses.multiaddrs import parse_peer_address
from p2p.hardening.multistream import read_bounded_line
from p2p.network import PeerId
from p2p.peers.credentials import Credential, decode_credentials
from p2p.wire import control
from p2p.wire.faults import Fault, PeerFault
from p2p.wire.protobuf import encode_varint
from pouw.proofs.proof import Proof, ProofError
from tests.fuzz.records import some_record
from tests.fuzz.target import LIMIT, SEEDS, Target, codec_target, fields_of
from tests.pouw.world import usual_case
from tools.node.gossip import Batch

CREDENTIALS: Final = 8
ADDRESSES: Final = ("/ip4/127.0.0.1/tcp/1", "/ip6/2001:db8::7/tcp/4001", "/dns4/node.example/tcp/65535")


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
    hello = control.Hello(chance.randbytes(32), chance.randbytes(8), ADDRESSES[:1])
    messages = [hello, control.Ping(1), control.Pong(2), control.Goodbye(Fault.MALFORMED, "no")]
    peers = control.Peers(((PeerId("12D3KooW"), ("/ip4/10.0.0.1/tcp/9",)),))
    return [control.encode(message) for message in (*messages, peers)]


def _credentials(chance: random.Random) -> list[bytes]:
    each = [
        Credential(chance.randbytes(32), serial, PeerId("12D3KooW"), ADDRESSES[:serial], chance.randbytes(64))
        for serial in range(3)
    ]
    return [credential.encode() for credential in each] + [b"".join(map(Credential.encode, each))]


def _credentials_written(credentials: tuple[Credential, ...]) -> bytes:
    return b"".join(map(Credential.encode, credentials))


def _peer_address(data: bytes) -> tuple[PeerId, str]:
    peer, address = parse_peer_address(data.decode("utf-8"))
    again = parse_peer_address(f"{address}/p2p/{peer}")
    assert again == (peer, address), f"{data!r} is read as {address}, and that as {again}"
    return peer, address


class _Line:
    """A stream of multistream's that is at its end after some bytes."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    @property
    def read_writer(self) -> "_Line":
        return self

    async def read(self, count: int) -> bytes:
        head, self._data = self._data[:count], self._data[count:]
        return head


def _line(data: bytes) -> str:
    reading = read_bounded_line(_Line(data))  # type: ignore[arg-type]
    try:
        reading.send(None)
    except StopIteration as done:
        return str(done.value)
    raise AssertionError("it waits for more of a stream that has ended")


def _lines(_: random.Random) -> list[bytes]:
    texts = (b"/multistream/1.0.0\n", b"/headrace/1\n", b"na\n", b"/" + b"x" * 200 + b"\n")
    return [encode_varint(len(text)) + text for text in texts]


PEERS: Final[dict[str, Target]] = {
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
    "offers": codec_target(Offers),
    "epochs-request": codec_target(EpochsRequest),
    "epochs-response": codec_target(EpochsResponse),
    "pieces-request": codec_target(PiecesRequest),
    "pieces-response": codec_target(PiecesResponse),
    "chain-proof": codec_target(ChainProof),
    "fields": Target(
        fields_of,
        (DecodeError,),
        lambda chance: [*_state_proofs(chance), *_work_proofs(chance)],
        encode_fields,
        canonical=True,
        longest=8192,
    ),
    "work-proof": Target(
        lambda data: Proof.from_fields(fields_of(data), max_bytes=LIMIT),
        (DecodeError, ProofError),
        _work_proofs,
        lambda proof: encode_fields(proof.to_fields()),
        canonical=True,
        longest=16_384,
    ),
    "state-proof": Target(
        lambda data: StateProof.from_fields(fields_of(data)),
        (DecodeError, StateProofError),
        _state_proofs,
        lambda proof: encode_fields(proof.to_fields()),
        canonical=True,
    ),
    "control": Target(control.decode, (PeerFault,), _controls, control.encode),
    "credentials": Target(
        partial(decode_credentials, limit=CREDENTIALS),
        (PeerFault,),
        _credentials,
        _credentials_written,
        canonical=True,
    ),
    "peer-address": Target(
        _peer_address,
        (ValueError,),
        lambda _: [f"{address}/p2p/12D3KooW".encode() for address in ADDRESSES],
        longest=300,
    ),
    "protocol-line": Target(_line, (MultiselectCommunicatorError,), _lines, longest=1200),
}
