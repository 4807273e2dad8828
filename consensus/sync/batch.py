"""Batches of final blocks: what is a good one, and how one is made.

A batch is good if its headers chain from our own final head to a block that the committee we computed
ourselves has finalized, and each body is the one its header names. It never crosses the end of an epoch,
because the next committee is known only once the last block of an epoch has been executed here.
"""

import enum
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Final

from chain.codec import encode
from chain.types.block import Block, Header, transactions_root
from chain.types.committee import Committee
from chain.types.statement import Kind
from consensus.ledger import Ledger
from consensus.messages import Certificate, CertificateError
from consensus.sync.requests import MAX_BLOCKS, BlocksRequest, BlocksResponse

BATCH_BYTES: Final = 1 << 20
"""No further block is added to a batch of this size: it is read, sent and decoded in one go."""


class BatchFault(enum.Enum):
    """Why a batch was refused; all of them are lies or damage, never bad luck."""

    EMPTY = "empty"
    WRONG_HEIGHT = "wrong_height"
    BROKEN_CHAIN = "broken_chain"
    WRONG_EPOCH = "wrong_epoch"
    WRONG_BODY = "wrong_body"
    WRONG_CERTIFICATE = "wrong_certificate"
    BAD_CERTIFICATE = "bad_certificate"


class BatchError(Exception):
    """A batch that proves nothing."""

    def __init__(self, reason: BatchFault, message: str) -> None:
        super().__init__(f"{reason.value}: {message}")
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Anchor:
    """The block that a batch must continue, and who may certify it."""

    height: int
    digest: bytes
    epoch: int
    """Of the next height."""
    committee: Committee
    """Of that epoch."""
    last_height: int
    """Of that epoch."""


def check_shape(batch: BlocksResponse, first: int, last: int) -> None:
    """Check what is plain to see of an answer for ``first`` to ``last`` without what comes before.

    Raises:
        BatchError: EMPTY, WRONG_HEIGHT or BROKEN_CHAIN.
    """
    if not batch.blocks:
        raise BatchError(BatchFault.EMPTY, "no blocks")
    expected, parent = first, None
    for header in [block.header for block in batch.blocks] + list(batch.bridge):
        if header.height != expected:
            raise BatchError(BatchFault.WRONG_HEIGHT, f"height {header.height}, expected {expected}")
        if parent is not None and header.parent != parent:
            raise BatchError(
                BatchFault.BROKEN_CHAIN, f"height {header.height} does not follow {parent.hex()}"
            )
        expected, parent = expected + 1, header.digest
    if first + len(batch.blocks) - 1 > last:
        raise BatchError(BatchFault.WRONG_HEIGHT, f"{len(batch.blocks)} blocks, asked up to height {last}")


def check_batch(batch: BlocksResponse, anchor: Anchor, *, chain_id: str) -> None:
    """Check that the blocks of ``batch`` are the final ones after ``anchor``; the ledger executes them later.

    Raises:
        BatchError: With any of the reasons of `BatchFault`, cheapest checks first.
    """
    if not batch.blocks:
        raise BatchError(BatchFault.EMPTY, "no blocks")
    headers = [block.header for block in batch.blocks] + list(batch.bridge)
    expected, parent = anchor.height + 1, anchor.digest
    for header in headers:
        if header.height != expected or header.height > anchor.last_height:
            raise BatchError(
                BatchFault.WRONG_HEIGHT,
                f"height {header.height}, expected {expected}, at most {anchor.last_height}",
            )
        if header.epoch != anchor.epoch:
            raise BatchError(BatchFault.WRONG_EPOCH, f"epoch {header.epoch}, expected {anchor.epoch}")
        if header.parent != parent:
            raise BatchError(
                BatchFault.BROKEN_CHAIN, f"height {header.height} does not follow {parent.hex()}"
            )
        expected, parent = expected + 1, header.digest
    certificate = batch.certificate
    if (certificate.kind, certificate.epoch, certificate.digest) != (Kind.FINALIZE, anchor.epoch, parent):
        raise BatchError(
            BatchFault.WRONG_CERTIFICATE,
            f"{certificate.kind.name} of {certificate.digest.hex()} in epoch {certificate.epoch}, expected "
            f"FINALIZE of {parent.hex()} in epoch {anchor.epoch}",
        )
    try:
        certificate.verify(anchor.committee, chain_id)
    except CertificateError as error:
        raise BatchError(BatchFault.BAD_CERTIFICATE, str(error)) from error
    for block in batch.blocks:
        if not body_matches(block):
            raise BatchError(BatchFault.WRONG_BODY, f"the body of height {block.header.height} is another's")


def body_matches(block: Block) -> bool:
    """Whether the transactions are those of the header: only then does the digest name the body."""
    return transactions_root(block.transactions) == block.header.transactions_root


def batch_steps(ledger: Ledger, request: BlocksRequest) -> Generator[None, None, bytes | None]:
    """The encoded `BlocksResponse` to a request, or None if its first height is not final, or not kept, here.

    The answer is the longest run that can be proven, with a halt after each block that is read. Blocks go
    out as they lie on disk: nothing is decoded, and no step takes longer than reading one. In each halt old
    blocks may be forgotten.
    """
    params = ledger.params
    if not 1 <= request.first <= ledger.final_head.height:
        return None
    end = min(params.last_height(params.epoch_of(request.first)), ledger.final_head.height)
    end = min(end, request.first + min(request.count, MAX_BLOCKS) - 1)
    blocks: list[bytes] = []
    size = 0
    for height in range(request.first, end + 1):
        block = ledger.encoded_block(height)
        if block is None:
            assert height < ledger.first_block, f"final height {height} is not in the ledger"
            return None
        size += len(block)
        if blocks and size > BATCH_BYTES:
            break
        blocks.append(block)
        yield
    if not blocks:
        return None
    for kept in range(len(blocks), 0, -1):
        height = request.first + kept - 1
        certificate, header = ledger.finalization(height), _header(ledger, height)
        if header is None:
            return None
        if certificate is not None and certificate.digest == header.digest:
            return _joined(blocks[:kept], [], certificate)
        yield
    return (yield from _with_bridge(ledger, request.first, blocks))


def _with_bridge(ledger: Ledger, first: int, blocks: Sequence[bytes]) -> Generator[None, None, bytes | None]:
    """No block of the run has a finalization of its own: lead on, by headers, to the one that has."""
    height = first + len(blocks) - 1
    certificate = ledger.finalization(height)
    assert certificate is not None, f"final height {height} has no certificate above it"
    bridge: list[bytes] = []
    header = None
    while header is None or header.digest != certificate.digest:
        height += 1
        header = _header(ledger, height)
        if header is None:
            return None
        bridge.append(encode(header))
        yield
    return _joined(blocks, bridge, certificate)


def _header(ledger: Ledger, height: int) -> Header | None:
    """The header of a block that was here; None if it has been forgotten since."""
    header = ledger.final_header(height)
    # In this order: what is missed may be missing because the first block is another now.
    assert header is not None or height < ledger.first_block, f"final header {height} is not in the ledger"
    return header


def _joined(blocks: Sequence[bytes], bridge: Sequence[bytes], certificate: Certificate) -> bytes:
    """A `BlocksResponse` of parts that are encoded already."""
    parts = [
        array_head(3),
        array_head(len(blocks)),
        *blocks,
        array_head(len(bridge)),
        *bridge,
        encode(certificate),
    ]
    return b"".join(parts)


def array_head(length: int) -> bytes:
    """The shortest head of a msgpack array, for what is put together of parts that are encoded already."""
    return bytes([0x90 | length]) if length < 16 else b"\xdc" + length.to_bytes(2, "big")
