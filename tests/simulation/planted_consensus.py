"""Bugs of the protocol, of durability and of sync."""

# Patches take the arguments of what they replace.
# ruff: noqa: ARG005

from dataclasses import replace

import consensus.messages
import consensus.signing.signing_guard
import consensus.simplex.proposing
import consensus.simplex.votes
import tests.simulation.node
import tests.simulation.questions
from chain.types.committee import Committee
from chain.types.statement import Kind, Statement
from consensus.ledger import Ledger
from consensus.messages import Certificate, CertificateError
from consensus.opening import open_epoch
from consensus.safe_store import SafeStore
from consensus.signing.guard_log import Reading, RecordKind, read_log
from consensus.signing.signing_guard import SigningGuard
from consensus.simplex import effects
from consensus.simplex.instance import Instance, Setting
from consensus.simplex.protocol import Simplex
from consensus.simplex.rounds import Rounds, Support
from consensus.verifier import Distrust, Verifier
from tests.simulation.disks import SimDatabase, SimDisk
from tests.simulation.node import Node
from tests.simulation.planted import Bug, patch


def _more_than_half(seats: int, total: int) -> bool:
    return 2 * seats > total


def _blind_stored(self: SigningGuard, statement: Statement) -> bytes | None:
    """Refuses nothing; only an exact repeat comes from the log."""
    entry = self._signed.get((statement.epoch, statement.view), {}).get(statement.kind)
    return (entry.stored or None) if entry is not None and entry.statement == statement else None


_BLIND_GUARD = (SigningGuard, "stored", _blind_stored)


_NOTARIZE = consensus.simplex.proposing.try_notarize


def _notarize_both(state: Instance) -> None:
    _NOTARIZE(state)
    found = state.current
    if len(found.proposals) == 2 and found.signed.get(Kind.NOTARIZE) == found.proposals[0][0]:
        found.proposals.reverse()
        del found.signed[Kind.NOTARIZE]
        _NOTARIZE(state)


def _forget_votes(data: bytes) -> Reading:
    reading = read_log(data)
    return Reading(reading.records[:1], None, None)


def _forget_proposals(data: bytes) -> Reading:
    reading = read_log(data)
    kept = tuple(record for record in reading.records if record.kind is not RecordKind.PROPOSE)
    return Reading(kept, None, None)


def _committee_of_yesterday(ledger: Ledger, me: bytes | None) -> Setting:
    setting = open_epoch(ledger, me)
    if setting.epoch % 3 == 2:
        return replace(setting, committee=ledger.committee(setting.epoch - 1))
    return setting


_VERIFY = Certificate.verify


def _verify_near_views(self: Certificate, committee: Committee, chain_id: str, **known: object) -> None:
    """Believes the seals of the views just before, too."""
    for back in (0, 1, 2):
        try:
            _VERIFY(replace(self, view=max(0, self.view - back)), committee, chain_id)
        except CertificateError:
            continue
        return
    _VERIFY(self, committee, chain_id)


def _verify_seats_alone(self: Certificate, committee: Committee, chain_id: str, **known: object) -> None:
    every = ((seal.validator, seal.signature) for seal in self.signatures)
    _VERIFY(self, committee, chain_id, known=every)


def _verify_repeats(self: Certificate, committee: Committee, chain_id: str, **known: object) -> None:
    """Counts a seal as often as it is there."""
    count = len(committee.validators)
    seats = sum(committee.validators[seal.validator % count].seats for seal in self.signatures)
    message = self.statement.signing_bytes(chain_id)
    for seal in self.signatures:
        validator = committee.validators[seal.validator % len(committee.validators)]
        if not consensus.messages.ed25519.verify(validator.consensus_key, message, seal.signature):
            _VERIFY(self, committee, chain_id)
    if 3 * seats <= 2 * committee.seats:
        _VERIFY(self, committee, chain_id)


def _no_time_of_the_parent(self: Verifier, simplex: Simplex, proposal: consensus.messages.Proposal) -> None:
    if proposal.block.header.timestamp_ms - self._now_ms() > self._max_clock_ahead_ms:
        raise Distrust("ahead of our clock")


_PERFORM = Node.perform


def _never_resend(self: Node, effect: effects.Effect) -> None:
    if not (isinstance(effect, effects.SetTimer) and effect.timer.value == "resend"):
        _PERFORM(self, effect)


CONSENSUS_BUGS = (
    Bug(
        "quorum_of_half", "a quorum is more than half of the seats",
        patch(
            (consensus.simplex.votes, "is_quorum", _more_than_half),
            (consensus.messages, "is_quorum", _more_than_half),
        ),
    ),
    Bug(
        "finalizes_after_nullify", "finalize is signed in a nullified view, and the guard looks away",
        patch((Simplex, "_may_finalize", lambda self, found: True), _BLIND_GUARD),
    ),
    Bug(
        "notarizes_twice", "both proposals of an equivocating leader get a vote, and the guard looks away",
        patch((consensus.simplex.proposing, "try_notarize", _notarize_both), _BLIND_GUARD),
    ),
    Bug(
        "forgets_its_votes", "the signing log reads as empty after a restart",
        patch((consensus.signing.signing_guard, "read_log", _forget_votes)),
    ),
    Bug(
        "rebuilds_proposals", "a proposal is made anew after a restart instead of sent again",
        patch((consensus.signing.signing_guard, "read_log", _forget_proposals)),
    ),
    Bug(
        "signs_without_sync", "the signing log is not synced before a signature leaves",
        patch((SimDisk, "sync", lambda self: None)),
    ),
    Bug(
        "commits_without_sync", "final blocks are told of before they are synced",
        patch((SimDatabase, "sync", lambda self: None)), profile="ledger",
    ),
    Bug(
        "keeps_no_certificates", "certificates and bodies are not saved before what relies on them is signed",
        patch((SafeStore, "save", lambda self, certificates, blocks: None)),
    ),
    Bug(
        "skips_validity", "a proposal is voted for without executing it",
        patch((Node, "fault", lambda self, block, digest: None)),
    ),
    Bug(
        "committee_of_yesterday", "some epochs are entered with the committee of the one before",
        patch((tests.simulation.node, "open_epoch", _committee_of_yesterday)),
    ),
    Bug(
        "certificate_of_another_view", "a certificate is believed whose seals are of a view just before",
        patch((Certificate, "verify", _verify_near_views)),
    ),
    Bug(
        "certificate_unsigned", "the seats of a certificate are counted and its seals not checked",
        patch((Certificate, "verify", _verify_seats_alone)),
    ),
    Bug(
        "certificate_repeats", "a seal counts as often as it is in the certificate",
        patch((Certificate, "verify", _verify_repeats)),
    ),
    Bug(
        "no_parent_check", "a proposal is voted for whatever became of the views since its parent",
        patch((Rounds, "support", lambda self, view, parent, base_digest: Support(holds=True, gaps=()))),
        habits=("stale",), sizes=(4,),
    ),
    Bug(
        "never_resends", "what was said once is never said again",
        patch((Node, "perform", _never_resend)),
    ),
    Bug(
        "does_not_pass_on", "what lost in a view stays with whoever it was told to",
        patch((Simplex, "_pass_on", lambda self: None)),
        profile="ledger", habits=("whispering",), sizes=(4,),
    ),
    Bug(
        "believes_sync", "blocks of a peer are taken for final whatever proves them",
        patch((tests.simulation.questions, "check_batch", lambda batch, anchor, chain_id: None)),
        habits=("lying_sync",),
    ),
    Bug(
        "time_stands_still", "after clocks were ahead, nothing is voted for until the time has come",
        patch((Verifier, "_check_time", _no_time_of_the_parent)),
    ),
)  # fmt: skip
"""All of them."""
