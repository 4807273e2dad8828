"""Bugs planted on purpose: a simulation that does not find them proves nothing about the real protocol."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import pytest

from chain.types.block import Block
from consensus import effects, proposing
from consensus.messages import Certificate, Proposal, Statement
from consensus.rounds import Round, Rounds, Support
from consensus.safe_store import Saved
from consensus.signing_guard import SigningGuard
from consensus.simplex import Simplex
from tests.consensus.fakes import TagKey
from tests.consensus.node import Node


class _OpenGuard(SigningGuard):
    """Refuses nothing; only an exact repeat comes from the log."""

    def stored(self, statement: Statement) -> bytes | None:
        entry = self._signed.get((statement.epoch, statement.view), {}).get(statement.kind)
        return entry.stored or None if entry is not None and entry.statement == statement else None


class Unguarded(Node):
    def open_guard(self) -> SigningGuard:
        guard = super().open_guard()
        guard.__class__ = _OpenGuard
        return guard


class _FinalizesAfterNullify(Simplex):
    def _may_finalize(self, found: Round) -> bool:
        return True


class FinalizesAfterNullify(Unguarded):
    machine = _FinalizesAfterNullify


class ForgetsItsVotes(Node):
    """Starts with an empty signing log after every crash."""

    def open_guard(self) -> SigningGuard:
        if self.is_honest:
            self.disk.data = None
        return super().open_guard()


class RebuildsProposals(Node):
    """Signs a new proposal for a view in which it already made one."""

    def open_guard(self) -> SigningGuard:
        guard = super().open_guard()
        for entries in guard._signed.values():
            for kind in [k for k in entries if k.name == "PROPOSE"]:
                del entries[kind]
        return guard


class KeepsNoBodies(Node):
    """Nothing but the signing log survives: no certificates, no bodies."""

    def perform(self, effect: effects.Effect) -> None:
        if not isinstance(effect, effects.Save):
            super().perform(effect)


class NeverResends(Node):
    def perform(self, effect: effects.Effect) -> None:
        if not (isinstance(effect, effects.SetTimer) and effect.timer.value == "resend"):
            super().perform(effect)


class NeverFetches(Node):
    def perform(self, effect: effects.Effect) -> None:
        if not isinstance(effect, effects.Fetch):
            super().perform(effect)
