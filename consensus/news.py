"""What of a message is news, decided before any of its signatures is verified."""

from chain.types.statement import Kind, Statement
from consensus.instance import Instance
from consensus.messages import Certificate, ConsensusMessage, Hearsay, Proposal, Vote
from consensus.proposing import PROPOSALS_AHEAD
from consensus.rounds import VIEWS_AHEAD


def is_known(state: Instance, message: ConsensusMessage, *, was_helped: bool) -> bool:
    """Whether a message would change nothing, so that its signatures need not be verified.

    A repeated vote of a view that is over is news once a peer: the peer is stuck there and wants help.
    """
    if isinstance(message, Hearsay):
        return not news(state, message)
    if _is_contradiction(state, message):
        return False
    rounds, view = state.rounds, state.view
    found = rounds.find(message.view)
    if isinstance(message, Proposal):
        if not rounds.floor <= message.view <= view + PROPOSALS_AHEAD:
            return True
        kept = () if found is None else found.proposals
        return any(message.signature == proposal.signature for _, proposal, _ in kept)
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
    if hearsay.view > state.view + VIEWS_AHEAD:
        return ()
    validators, told = state.setting.committee.validators, []
    for word in hearsay.words:
        if word.validator >= len(validators):
            break
        signer, statement = validators[word.validator].consensus_key, hearsay.statement(word)
        if state.witness.is_news(signer, statement):
            told.append((signer, statement, word.signature))
    return tuple(told)


def _is_contradiction(state: Instance, message: Vote | Proposal | Certificate) -> bool:
    """Whether a message, should its signatures hold, convicts somebody who is not accused yet."""
    witness = state.witness
    if isinstance(message, Certificate):
        validators = state.setting.committee.validators
        places = (seal.validator for seal in message.signatures)
        signers = (validators[place].consensus_key for place in places if place < len(validators))
        return witness.contradicts(signers, message.statement)
    if isinstance(message, Proposal):
        return witness.has_proposed_else(state.leader(message.view), message.view, message.signature)
    return message.signer in state.index and witness.contradicts((message.signer,), message.statement)
