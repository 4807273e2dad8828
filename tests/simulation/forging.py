"""What traitors sign past every guard, and what they make of the signatures of others."""

from typing import TYPE_CHECKING

from chain.execution.invalid import InvalidBlock
from chain.types.block import Block, Header, beacon_input
from chain.types.statement import Kind, Statement
from consensus.ledger import BuildRequest
from consensus.messages import Certificate, Proposal, Seal, Vote
from tests.simulation.keys import TagKey

if TYPE_CHECKING:
    from tests.simulation.node import Node


def proposed(node: "Node", view: int) -> list[bytes]:
    """Digests of the blocks that this node has seen proposed in a view."""
    found = node.simplex._state.rounds.find(view)
    return [] if found is None else [digest for digest, _, _ in found.proposals]


def other_proposal(node: "Node", proposal: Proposal) -> Proposal | None:
    """A second block for the same view, a millisecond younger."""
    header = proposal.block.header
    if header.view != proposal.view:
        return None
    request = BuildRequest(
        header.parent, header.epoch, header.view, header.timestamp_ms + 1, header.proposer,
        header.vrf_proof,
    )  # fmt: skip
    try:
        return signed_proposal(node, proposal.view, node.ledger.make(request))
    except (InvalidBlock, KeyError):
        # After a restart its ledger may not know the parent of what it says again.
        return None


def signed_vote(node: "Node", statement: Statement, *, key: TagKey | None = None) -> Vote:
    """A vote past every signing guard."""
    key = key or node.key
    signature = key.sign(statement.signing_bytes(node.world.params.chain_id))
    return Vote(statement.kind, statement.epoch, statement.view, statement.digest, key.public_key, signature)


def signed_proposal(node: "Node", view: int, block: Block) -> Proposal:
    """A proposal past every signing guard."""
    statement = Statement(Kind.PROPOSE, node.simplex.epoch, view, block.digest)
    signature = node.key.sign(statement.signing_bytes(node.world.params.chain_id))
    return Proposal(node.simplex.epoch, view, block, signature)


def forged_certificate(
    node: "Node", pattern: Certificate | None, digest: bytes, *, statement: Statement | None = None
) -> Certificate:
    """A certificate with all the seals that one key can make: its own, in the name of everybody."""
    if statement is None:
        assert pattern is not None
        statement = Statement(pattern.kind, pattern.epoch, pattern.view, digest)
    mine = node.key.sign(statement.signing_bytes(node.world.params.chain_id))
    count = len(node.simplex.committee.validators)
    seals = tuple(Seal(index, mine) for index in range(count))
    return Certificate(statement.kind, statement.epoch, statement.view, statement.digest, seals)


def beacon_proof(node: "Node", parent: Header, view: int) -> bytes:
    return node.signer.prove(beacon_input(node.world.params.chain_id, parent.beacon, view))
