"""A batch made in one go, and read again, for tests that are no server."""

from chain.codec import decode
from consensus.ledger import Ledger
from consensus.sync.batch import batch_steps
from consensus.sync.requests import MAX_ANSWER, BlocksRequest, BlocksResponse
from tests.consensus.steps import finish


def make_batch(ledger: Ledger, request: BlocksRequest) -> BlocksResponse | None:
    """The longest provable run from ``request.first``, or None if that height is not final here."""
    raw = finish(batch_steps(ledger, request))
    return None if raw is None else decode(BlocksResponse, raw, limit=MAX_ANSWER)
