"""What of a message is news, decided before any of its signatures is verified."""

from chain.types.statement import Kind, Statement
from consensus.messages import Certificate, ConsensusMessage, Head, Hearsay, Proposal, Vote
from consensus.simplex.instance import Instance
from consensus.simplex.proposing import PROPOSALS_AHEAD
from consensus.simplex.rounds import VIEWS_AHEAD


def is_known_by_head(state: Instance, head: Head) -> bool:
    """Whether `is_known` can be told from a head: of proposals, and of what is too old to convict anybody.

    The ones are large, the others many, and both are repeated by everybody.
    """
    if head.message is Proposal:
        return _is_known_proposal(state, head.view, head.signature)
    if head.message is Certificate:
        return head.view < state.rounds.floor and not state.witness.statements(head.view)
    return head.message is Hearsay and not _may_be_news(state, head.view)


def is_known(state: Instance, message: ConsensusMessage, *, was_helped: bool) -> bool:
    """Whether a message would change nothing, so that its signatures need not be verified.

    A repeated vote of a view that is over is news once a peer: the peer is stuck there and wants help.
    """
    if isinstance(message, Hearsay):
        return not news(state, message)
    if isinstance(message, Proposal):
        return _is_known_proposal(state, message.view, message.signature)
    if _is_contradiction(state, message):
        return False
    rounds, view = state.rounds, state.view
    found = rounds.find(message.view)
    if isinstance(message, Certificate):
        have = () if found is None else found.certificates()
        return message.view < rounds.floor or any(message.statement == c.statement for c in have)
    index = state.index.get(message.signer)
    if index is None or message.view > view + VIEWS_AHEAD:
        return True
    if message.view >= rounds.floor and (found is None or not found.votes.has(index, message)):
        return False
    if message.view == view - 1 and message.view < rounds.floor and message.kind is not Kind.FINALIZE:
        # Too late to be counted, and no call for help: worth a look once, for whoever signed it is there.
        return not state.witness.is_news(message.signer, message.statement)
    return message.view >= view or message.kind is Kind.FINALIZE or was_helped


def news(state: Instance, hearsay: Hearsay) -> tuple[tuple[bytes, Statement, bytes], ...]:
    """Signer, statement and signature of what hearsay may tell us: alone worth verifying."""
    if not _may_be_news(state, hearsay.view):
        return ()
    validators, told = state.setting.committee.validators, []
    for word in hearsay.words:
        if word.validator >= len(validators):
            break
        signer, statement = validators[word.validator].consensus_key, hearsay.statement(word)
        if state.witness.is_news(signer, statement):
            told.append((signer, statement, word.signature))
    return tuple(told)


def _may_be_news(state: Instance, view: int) -> bool:
    return view <= state.view + VIEWS_AHEAD and state.witness.remembers(view)


def _is_known_proposal(state: Instance, view: int, signature: bytes) -> bool:
    if state.witness.has_proposed_else(state.leader(view), view, signature):
        return False
    if not state.rounds.floor <= view <= state.view + PROPOSALS_AHEAD:
        return True
    found = state.rounds.find(view)
    kept = () if found is None else found.proposals
    return any(signature == proposal.signature for _, proposal, _ in kept)


def _is_contradiction(state: Instance, message: Vote | Certificate) -> bool:
    """Whether a message, should its signatures hold, convicts somebody who is not accused yet."""
    witness = state.witness
    if isinstance(message, Certificate):
        validators = state.setting.committee.validators
        places = (seal.validator for seal in message.signatures)
        signers = (validators[place].consensus_key for place in places if place < len(validators))
        return witness.contradicts(signers, message.statement)
    return message.signer in state.index and witness.contradicts((message.signer,), message.statement)
