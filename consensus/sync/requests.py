"""Questions that nodes ask one another over `p2p.network.Network.request`, and the answers."""

from dataclasses import dataclass
from typing import Annotated, Final

from chain.codec import U16, U64, AtMost, Hash32
from chain.types.block import Block, Header
from consensus.messages import Certificate

FETCH: Final = "consensus/fetch"
STATUS: Final = "sync/status"
BLOCKS: Final = "sync/blocks"

LIE_WEIGHT: Final = 50
"""Score that a peer loses for an answer that no honest node gives."""
STALL_WEIGHT: Final = 1
"""Score for an answer that did not come: it happens to the honest, who must not be banned for it."""

HEDGE_SHARE: Final = 4
"""A part of the request time-out after which what everybody waits for is asked of another peer too."""

MAX_REQUEST: Final = 1024
"""Bytes of any question."""
MAX_ANSWER: Final = 6 << 20
"""Bytes of an answer. Room for one block of the largest size and for what comes with it."""
MAX_STATUS: Final = 256
CERTIFICATE_BYTES: Final = 1 << 20
"""No further certificate is added to an answer with as much of them."""

MAX_DIGESTS: Final = 8
MAX_CERTIFICATES: Final = 256
MAX_BLOCKS: Final = 64
MAX_BRIDGE: Final = 1 << 12
"""Headers between a batch's last block and the certified one; fewer than an epoch has."""


@dataclass(frozen=True, slots=True)
class FetchRequest:
    """S8: bodies by digest, and the certificates of a range of views."""

    digests: Annotated[tuple[Hash32, ...], AtMost(MAX_DIGESTS)]
    epoch: U64
    first_view: U64
    end_view: U64


@dataclass(frozen=True, slots=True)
class FetchResponse:
    """What is at hand of it."""

    blocks: Annotated[tuple[Block, ...], AtMost(MAX_DIGESTS)]
    certificates: Annotated[tuple[Certificate, ...], AtMost(MAX_CERTIFICATES)]


@dataclass(frozen=True, slots=True)
class Status:
    """How far a node's final chain goes. Claims, until a batch proves them."""

    height: U64
    digest: Hash32
    epoch: U64
    """Epoch of the next height."""


@dataclass(frozen=True, slots=True)
class BlocksRequest:
    """Final blocks from height ``first`` on, at most ``count``."""

    first: U64
    count: U16


@dataclass(frozen=True, slots=True)
class BlocksResponse:
    """Consecutive final blocks of one epoch, and what proves the last of them final."""

    blocks: Annotated[tuple[Block, ...], AtMost(MAX_BLOCKS)]
    bridge: Annotated[tuple[Header, ...], AtMost(MAX_BRIDGE)]
    """Headers that lead from the last block to the certified one; empty if that is the last block."""
    certificate: Certificate
    """A finalization of the last header."""
