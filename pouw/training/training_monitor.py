"""Monitors: exact is not correct, so each step is looked at, and a collapse becomes an error.

A run in integers can go wrong without a single wrong bit: weights pile up at their limits, errors are cut
off, units shut for good, the loss climbs. None of this is visible in a proof. Whoever trains looks here
before it commits to a step or builds on one.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pouw.arithmetic.cross_entropy import NATS, row_losses
from pouw.models.mlp import weight_name
from pouw.program import Program
from pouw.trace import Trace
from pouw.training.checkpoint import next_name
from pouw.training.mlp_training import LOSS, MlpTraining, error_name, values_name

_EXTREME: Final = 127
_THOUSAND: Final = 1000


class CollapseReason(IntEnum):
    """What went wrong with a run whose bits are all right."""

    LOSS = 1
    """The mean loss of a step is beyond what a model that learns can have."""
    WEIGHTS_STUCK = 2
    """Too many weights in use lie at their limit."""
    ERRORS_CUT = 3
    """Too many errors lie at their limit: the gradient is no gradient any more."""
    UNITS_SHUT = 4
    """A hidden layer gives almost nothing but zeros, or nothing but its limit."""


class TrainingCollapse(RuntimeError):  # noqa: N818 - a state of a run
    """A run that must not go on.

    Args:
        reason: one code.
        message: a sentence with both values.
    """

    def __init__(self, reason: CollapseReason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class StepReport:
    """What a step looked like.

    Args:
        loss: mean cross-entropy of its rows before the step, nats at scale 16.
        right: rows whose greatest logit was the label's.
        rows: how many there were.
        stuck: the most in a thousand weights of a layer that lie at their limit.
        cut: the most in a thousand errors of a layer that do.
        open: the fewest in a thousand units of a hidden layer that let a gradient through.
    """

    loss: int
    right: int
    rows: int
    stuck: int
    cut: int
    open: int


@dataclass(frozen=True, slots=True)
class Bounds:
    """Where a run counts as collapsed; see `StepReport` for the units.

    Args:
        loss: 4 nats: a guess among ten costs 2.3.
        stuck: one in twenty.
        cut: one in ten.
        open: one in a hundred.
    """

    loss: int = 4 << NATS
    stuck: int = 50
    cut: int = 100
    open: int = 10


def report_step(training: MlpTraining, program: Program, trace: Trace) -> StepReport:
    """Look at a step.

    Args:
        training: the run.
        program: from `step_program` or `gradient_program`.
        trace: its run.
    """
    tensors = {program.name_of(number): tensor for number, tensor in enumerate(trace.tensors)}
    labels = trace.tensors[0][:, training.widths[0]]
    logits = tensors[values_name(training.layers - 1)]
    moved = [tensors.get(next_name(weight_name(layer))) for layer in range(training.layers)]
    hidden = [tensors[values_name(layer)] for layer in range(training.layers - 1)]
    return StepReport(
        loss=int(row_losses(tensors[LOSS], labels).sum()) // len(labels),
        right=int((np.argmax(logits, axis=1) == labels).sum()),
        rows=len(labels),
        stuck=max(_share(np.abs(weights) == _EXTREME) for weights in moved if weights is not None)
        if moved[0] is not None
        else 0,
        cut=max(_share(np.abs(tensors[error_name(layer)]) == _EXTREME) for layer in range(training.layers)),
        open=min((_share((values > 0) & (values < _EXTREME)) for values in hidden), default=_THOUSAND),
    )


def check_report(report: StepReport, bounds: Bounds) -> None:
    """Refuse to go on after a step that collapsed.

    Args:
        report: of the step.
        bounds: of the run.

    Raises:
        TrainingCollapse: LOSS, WEIGHTS_STUCK, ERRORS_CUT, UNITS_SHUT.
    """
    for reason, what, got, bound in (
        (CollapseReason.LOSS, "a mean loss (in 1/65536) of", report.loss, bounds.loss),
        (CollapseReason.WEIGHTS_STUCK, "weights at their limit, in a thousand:", report.stuck, bounds.stuck),
        (CollapseReason.ERRORS_CUT, "errors at their limit, in a thousand:", report.cut, bounds.cut),
    ):
        if got > bound:
            raise TrainingCollapse(reason, f"{what} {got}, at most {bound}")
    if report.open < bounds.open:
        raise TrainingCollapse(
            CollapseReason.UNITS_SHUT,
            f"units of a layer that are open, in a thousand: {report.open}, at least {bounds.open}",
        )


def _share(hits: NDArray[np.bool_]) -> int:
    return _THOUSAND * int(hits.sum()) // hits.size
