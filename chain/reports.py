"""Reports of equivocation that wait for a block: one an accused key, and only such as hold.

Memory bound: an accused held seats in an epoch whose evidence still counts, so there are at most as many
reports as seats in those epochs, and `MAX_REPORTS` in any case; a report is some 400 bytes.
"""

from typing import Final

from chain.execution import queries
from chain.execution.evidence import check_report, evidence_ends
from chain.execution.invalid import NotIncludable
from chain.execution.ledger import Ledger
from chain.reasons import Reason
from chain.state.tree import StateTree
from chain.types.params import ChainParams
from chain.types.transaction import ReportEquivocation, SignedTransaction

MAX_REPORTS: Final = 1024


class ReportPool:
    """What a proposer puts first into its block: it costs nothing and makes the chain safer."""

    def __init__(self, params: ChainParams) -> None:
        self._params = params
        self._by_key: dict[bytes, SignedTransaction] = {}

    def __len__(self) -> int:
        return len(self._by_key)

    @property
    def waiting(self) -> tuple[SignedTransaction, ...]:
        """All reports, in the order in which they came."""
        return tuple(self._by_key.values())

    def add(self, signed: SignedTransaction, body: ReportEquivocation, state: StateTree) -> Reason:
        """Take a report in.

        Args:
            signed: From anybody.
            body: Its body.
            state: After the last final block.

        Returns:
            OK, ALREADY_KNOWN if the key is accused here already, MEMPOOL_FULL, or why the report does not
            hold: any reason of `chain.execution.evidence.check_report`.
        """
        if body.evidence.signer in self._by_key:
            return Reason.ALREADY_KNOWN
        if len(self._by_key) >= MAX_REPORTS:
            return Reason.MEMPOOL_FULL
        reason = self._reason(signed, body, state)
        if reason is Reason.OK:
            self._by_key[body.evidence.signer] = signed
        return reason

    def revalidate(self, state: StateTree) -> None:
        """Drop the reports that a new final state has acted on, or that are too old; else they still hold."""
        height = queries.head(state).height + 1
        for key, signed in list(self._by_key.items()):
            body = signed.transaction.body
            assert isinstance(body, ReportEquivocation), "the pool takes nothing else"
            is_late = height > evidence_ends(body.evidence.epoch, params=self._params)
            if is_late or queries.conviction(state, key) is not None:
                del self._by_key[key]

    def _reason(self, signed: SignedTransaction, body: ReportEquivocation, state: StateTree) -> Reason:
        height = queries.head(state).height + 1
        try:
            check_report(Ledger(state), signed, body, height=height, params=self._params)
        except NotIncludable as error:
            return error.reason
        return Reason.OK
