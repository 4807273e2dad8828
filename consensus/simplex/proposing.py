"""S2 and S3: making the block of a view, and voting for the one that its leader made."""

from typing import Final

from chain.types.block import Header
from chain.types.statement import NOTHING, Kind
from consensus.messages import Proposal
from consensus.simplex import effects, events
from consensus.simplex.instance import FETCHED_VIEWS, Instance
from consensus.simplex.rounds import Round
from consensus.simplex.tree import Dead
from p2p.network import PeerId

PROPOSALS_AHEAD: Final = 4
"""Bodies are large: only those of the next few views are taken early."""


def try_propose(state: Instance) -> None:
    """S2: one proposal a view. One that was signed before is sent again as it was, never rebuilt.

    The certificates that a peer may lack are not sent along: everyone passed them on when they came (S5, S6),
    and whoever still lacks one fetches it from us (S8).
    """
    found = state.current
    if state.leader(state.view) != state.me or found.building:
        return
    parent_digest = _choose_parent(state)
    parent = None if parent_digest is None else state.tree.header(parent_digest)
    if parent_digest is None or parent is None:
        return
    found.building = True
    if parent.height == state.setting.last_height:
        # The epoch's last block is proposed again until one of these views is final.
        block = state.tree.block(parent_digest)
        assert block is not None, "the base of an epoch that goes on is not its last block"
        state.out.append(effects.Propose(state.view, block))
    else:
        state.out.append(effects.Build(state.epoch, state.view, parent, parent_digest))


def _choose_parent(state: Instance) -> bytes | None:
    """S2: the notarized block of the highest view above which all is nullified, and which is known."""
    for view in range(state.view - 1, state.rounds.floor - 1, -1):
        found = state.rounds.find(view)
        digest = None if found is None else found.notarized
        if digest is not None and state.is_ready(digest):
            return digest
        if found is None or found.nullification is None:
            if digest is None:
                state.fetch_views((view,), ())
            return None
    return state.tree.base_digest


def take_built(state: Instance, event: events.Built) -> None:
    """The ledger made our block: sign the proposal, unless the view is over."""
    if (event.epoch, event.view) == (state.epoch, state.view):
        state.tree.add(event.digest, event.block)
        state.judge(event.digest, None)
        state.out.append(effects.Propose(event.view, event.block))


def take_own(state: Instance, proposal: Proposal, digest: bytes) -> None:
    """Our proposal is durable: send it, and treat it like anybody's."""
    if proposal.view < state.rounds.floor:
        return
    found = state.rounds.at(proposal.view)
    found.own_proposal = proposal
    state.tree.add(digest, proposal.block)
    found.proposals.append((digest, proposal, None))
    state.out.append(effects.Broadcast(proposal))


def take_proposal(state: Instance, origin: PeerId, proposal: Proposal, digest: bytes) -> None:
    """Keep a leader's proposal, the second because it may be the notarized one."""
    view = proposal.view
    if not state.rounds.floor <= view <= state.view + PROPOSALS_AHEAD:
        return
    found = state.rounds.at(view)
    state.presence.heard(state.index[state.leader(view)], view)
    if view < state.view and found.notarized != digest:
        return
    if any(digest == known for known, _, _ in found.proposals) or len(found.proposals) == 2:
        return
    found.proposals.append((digest, proposal, origin))
    state.tree.add(digest, proposal.block)


def try_notarize(state: Instance) -> None:
    """S3: vote for the first proposal from the leader, once."""
    found = state.current
    if not found.proposals or found.rejected or Kind.NOTARIZE in found.signed:
        return
    digest, proposal, _ = found.proposals[0]
    header = proposal.block.header
    fault = _fault(state, header)
    if fault is None:
        readiness = state.tree.readiness(digest)
        fault = readiness.fault if isinstance(readiness, Dead) else None
    if fault is not None:
        _reject(state, found, fault)
        return
    # A block that is proposed again stands on its own notarization, a new one on its parent's.
    base = header.parent if header.view == state.view else digest
    support = state.rounds.support(state.view, base, state.tree.base_digest)
    if not support.holds:
        # A leader may name any parent: no body is worth asking for before a quorum vouches for the parent.
        _fetch_support(state, support.gaps)
    elif state.is_ready(digest):
        state.save_body(digest, proposal.block)
        state.sign(found, Kind.NOTARIZE, digest)


def _fetch_support(state: Instance, gaps: tuple[int, ...]) -> None:
    """S8, for certificates: the parent's may be of any view, also of one that we know as nullified."""
    newest = range(max(state.rounds.floor, state.view - FETCHED_VIEWS), state.view)
    holders = (state.leader(state.view),)
    state.fetch_views(tuple(newest), holders)
    state.fetch_views(tuple(view for view in gaps if view < newest.start), holders)


def _fault(state: Instance, header: Header) -> str | None:
    """S3, as far as the header alone tells."""
    base, last = state.tree.base.height, state.setting.last_height
    if header.epoch != state.epoch:
        return f"a block of epoch {header.epoch} in epoch {state.epoch}"
    if not base < header.height <= last:
        return f"height {header.height} is not in ({base}, {last}]"
    if header.view == state.view:
        if header.proposer != state.leader(state.view):
            return f"proposer {header.proposer.hex()} does not lead view {state.view}"
    elif header.view > state.view or header.height != last:
        return f"a block of view {header.view} proposed in view {state.view}"
    return None


def _reject(state: Instance, found: Round, fault: str) -> None:
    """S4: an invalid proposal needs no waiting."""
    found.rejected = True
    origin = found.proposals[0][2]
    if origin is not None:
        state.out.append(effects.Report(origin, f"invalid proposal in view {found.view}: {fault}"))
    nullify(state)


def nullify(state: Instance) -> None:
    """S4: give up on the view, unless we vouched for its block for good."""
    found = state.current
    if Kind.NULLIFY not in found.signed and Kind.FINALIZE not in found.signed:
        state.sign(found, Kind.NULLIFY, NOTHING)
