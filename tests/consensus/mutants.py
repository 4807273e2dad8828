"""Bugs planted on purpose: a simulation that does not find them proves nothing about the real protocol."""

from chain.types.statement import Kind, Statement
from consensus import effects
from consensus.rounds import Round
from consensus.signing_guard import SigningGuard
from consensus.simplex import Simplex
from tests.consensus.node import Node


class OpenGuard(SigningGuard):
    """Refuses nothing; only an exact repeat comes from the log."""

    def stored(self, statement: Statement) -> bytes | None:
        entry = self._signed.get((statement.epoch, statement.view), {}).get(statement.kind)
        return (entry.stored or None) if entry is not None and entry.statement == statement else None


class Hasty(Simplex):
    def _may_finalize(self, found: Round) -> bool:
        return True


class FinalizesAfterNullify(Node):
    """Neither the protocol nor the guard minds."""

    machine = Hasty

    def open_guard(self) -> SigningGuard:
        guard = super().open_guard()
        guard.__class__ = OpenGuard
        return guard


class ForgetsItsVotes(Node):
    """Starts with an empty signing log after every crash."""

    def open_guard(self) -> SigningGuard:
        if self.is_honest:
            self.disk.data = None
        return super().open_guard()


class RebuildsProposals(Node):
    """Makes a new block for a view in which it already proposed one: the bug that forked the first sketch."""

    def open_guard(self) -> SigningGuard:
        guard = super().open_guard()
        for signed in guard._signed.values():
            signed.pop(Kind.PROPOSE, None)
        return guard


class KeepsNothing(Node):
    """No certificates and no bodies survive, only the signing log."""

    def perform(self, effect: effects.Effect) -> None:
        if not isinstance(effect, effects.Save):
            super().perform(effect)


class NeverFetches(Node):
    """S8 left out."""

    def perform(self, effect: effects.Effect) -> None:
        if not isinstance(effect, effects.Fetch):
            super().perform(effect)


class NeverResends(Node):
    """S4 without its second sentence."""

    def perform(self, effect: effects.Effect) -> None:
        if not (isinstance(effect, effects.SetTimer) and effect.timer.value == "resend"):
            super().perform(effect)
