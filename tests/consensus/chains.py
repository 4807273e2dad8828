"""Final chains made by hand, with real signatures."""

from collections.abc import Callable, Sequence

from chain.crypto.ed25519 import SecretKey, derive_seed
from chain.types.block import Block
from chain.types.committee import Committee
from chain.types.statement import Kind, Statement
from consensus.ledger import BuildRequest, Ledger
from consensus.messages import Certificate, Seal
from consensus.sync.light import ChainProof, make_chain_proof
from tests.consensus.fakes import CHAIN_ID, ChainTwin, committee_of, params
from tests.consensus.steps import finish

PARAMS = params(epoch_length=4)
KEYS = sorted(
    (SecretKey(derive_seed(bytes(32), "chain", i)) for i in range(8)), key=lambda key: key.public_key
)
"""The first four vote in even epochs, the others in odd ones: no member in common."""
COMMITTEES = [committee_of(k.public_key for k in KEYS[:4]), committee_of(k.public_key for k in KEYS[4:])]


def committee(epoch: int) -> Committee:
    return COMMITTEES[epoch % 2]


def certify(
    block: Block, *, kind: Kind = Kind.FINALIZE, committees: Sequence[Committee] = COMMITTEES
) -> Certificate:
    """A certificate by three of the four of the block's epoch."""
    header = block.header
    statement = Statement(kind, header.epoch, header.view, block.digest)
    by_key = {key.public_key: key for key in KEYS}
    voters = [by_key[v.consensus_key] for v in committees[header.epoch % 2].validators[:3]]
    seals = tuple(Seal(i, key.sign(statement.signing_bytes(CHAIN_ID))) for i, key in enumerate(voters))
    return Certificate(kind, statement.epoch, statement.view, statement.digest, seals)


def chain_of(
    height: int,
    *,
    direct: Callable[[int], bool] = lambda _: True,
    committees: Sequence[Committee] = COMMITTEES,
) -> ChainTwin:
    """A final chain; heights for which ``direct`` is false are final by their descendants alone."""
    chain = ChainTwin(PARAMS, lambda epoch: committees[epoch % 2])
    waiting: list[Block] = []
    for h in range(1, height + 1):
        epoch = PARAMS.epoch_of(h)
        parent = waiting[-1].digest if waiting else chain.final[-1]
        block = chain.make(BuildRequest(parent, epoch, h, 1000 * h, bytes(32), bytes(80)))
        waiting.append(block)
        if direct(h) or h in (PARAMS.last_height(epoch), height):
            chain.settle(waiting, certify(block, committees=committees))
            waiting = []
    return chain


def proven(ledger: Ledger, height: int, first_epoch: int = 0) -> ChainProof | None:
    """The proof of a header, all steps at once."""
    return finish(make_chain_proof(ledger, height, first_epoch=first_epoch))
