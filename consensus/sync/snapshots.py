"""Serving states: the ends of epochs from the first on, and the newest states in pieces.

What is offered is a claim; everything that is handed out proves itself to whoever has the genesis file.
"""

from collections.abc import Generator
from dataclasses import dataclass
from typing import Annotated, Final, Protocol

import trio

from chain.codec import U16, U64, AtMost, decode, encode
from chain.msgpack_reader import DecodeError
from chain.state.chunks import Entries, Piece, Place, make_piece
from chain.state.tree import StateTree
from consensus.ledger import Ledger
from consensus.sync.light import EpochProof, make_epoch_proof
from consensus.sync.requests import MAX_REQUEST
from consensus.sync.serving import Desk
from p2p.network import Network, PeerId, RequestRefused

OFFERS: Final = "state/offers"
EPOCHS: Final = "state/epochs"
PIECES: Final = "state/pieces"

MAX_OFFERS: Final = 8
MAX_OFFERS_BYTES: Final = 256
MAX_EPOCHS: Final = 64
"""Ends of epochs in one answer."""
MAX_EPOCHS_BYTES: Final = 4 << 20
"""Of an answer: one end of an epoch of the largest committee takes 140 KB."""
MAX_PLACES: Final = 64
MAX_PLACES_BYTES: Final = 1 << 13
ANSWER_BYTES: Final = 1 << 20
"""No further piece is added to an answer of this size."""
MAX_PIECES_BYTES: Final = 3 << 20
"""Of an answer: one piece may be a single entry of a mebibyte, and comes on top."""

_EPOCHS_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Offers:
    """Epochs whose final states can be had here, newest first."""

    epochs: Annotated[tuple[U64, ...], AtMost(MAX_OFFERS)]


@dataclass(frozen=True, slots=True)
class EpochsRequest:
    """Ends of epochs from ``first`` on, at most ``count``."""

    first: U64
    count: U16


@dataclass(frozen=True, slots=True)
class EpochsResponse:
    """Consecutive ends of epochs."""

    ends: Annotated[tuple[EpochProof, ...], AtMost(MAX_EPOCHS)]


@dataclass(frozen=True, slots=True)
class PiecesRequest:
    """What the state at the end of an epoch holds at some places."""

    epoch: U64
    places: Annotated[tuple[Place, ...], AtMost(MAX_PLACES)]


@dataclass(frozen=True, slots=True)
class PiecesResponse:
    """The pieces in the order of the places; the last ones may be left out for want of room."""

    pieces: Annotated[tuple[Piece, ...], AtMost(MAX_PLACES)]


class Snapshots(Protocol):
    """States at the ends of epochs that a node keeps."""

    def epochs(self) -> tuple[int, ...]:
        """Epochs whose final states are here, newest first, at most `MAX_OFFERS`."""
        ...

    def tree(self, epoch: int) -> StateTree | None:
        """The state at the end of an epoch."""
        ...


class SnapshotServer:
    """Answers those who begin."""

    def __init__(self, network: Network, ledger: Ledger, snapshots: Snapshots) -> None:
        self._network = network
        self._ledger = ledger
        self._snapshots = snapshots
        self._desk = Desk("states", is_kept=network.is_kept)

    def register(self) -> None:
        """Answer other nodes."""
        self._network.set_handler(OFFERS, self._answer_offers, limit=MAX_REQUEST)
        self._network.set_handler(EPOCHS, self._answer_epochs, limit=MAX_REQUEST)
        self._network.set_handler(PIECES, self._answer_pieces, limit=MAX_PLACES_BYTES)

    async def _answer_offers(self, _peer: PeerId, _payload: bytes) -> bytes:
        await trio.lowlevel.checkpoint()
        return encode(Offers(self._snapshots.epochs()))

    async def _answer_epochs(self, peer: PeerId, payload: bytes) -> bytes:
        await trio.lowlevel.checkpoint()
        try:
            request = decode(EpochsRequest, payload, limit=MAX_REQUEST)
        except DecodeError as error:
            raise RequestRefused(str(error)) from error
        ends = await self._desk.serve(peer, self._epochs(request))
        if not ends:
            raise RequestRefused(f"epoch {request.first} has not ended here")
        return encode(EpochsResponse(ends))

    def _epochs(self, request: EpochsRequest) -> Generator[None, None, tuple[EpochProof, ...]]:
        ends: list[EpochProof] = []
        size = 0
        while len(ends) < min(request.count, MAX_EPOCHS) and size < _EPOCHS_BYTES:
            end = make_epoch_proof(self._ledger, request.first + len(ends))
            if end is None:
                break
            ends.append(end)
            size += len(encode(end))
            yield
        return tuple(ends)

    async def _answer_pieces(self, peer: PeerId, payload: bytes) -> bytes:
        await trio.lowlevel.checkpoint()
        try:
            request = decode(PiecesRequest, payload, limit=MAX_PLACES_BYTES)
        except DecodeError as error:
            raise RequestRefused(str(error)) from error
        tree = self._snapshots.tree(request.epoch)
        if tree is None:
            raise RequestRefused(f"the state of epoch {request.epoch} is not kept here")
        pieces = await self._desk.serve(peer, _pieces(tree, request.places))
        return encode(PiecesResponse(pieces))


def _pieces(tree: StateTree, places: tuple[bytes, ...]) -> Generator[None, None, tuple[Piece, ...]]:
    pieces: list[Piece] = []
    size = 0
    for place in places:
        if any(way > 15 for way in place):
            raise RequestRefused(f"{place.hex()} is no place")
        piece = make_piece(tree, place)
        if piece is None:
            raise RequestRefused(f"nothing is at {place.hex()}")
        pieces.append(piece)
        size += _size_of(piece)
        if size > ANSWER_BYTES:
            break
        yield
    return tuple(pieces)


def _size_of(piece: Piece) -> int:
    if isinstance(piece, Entries):
        return sum(len(entry.key) + len(entry.value) + 8 for entry in piece.entries)
    return 1 << 10
