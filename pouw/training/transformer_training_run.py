"""A transformer's training run on one machine: step after step, each looked at before the next."""

from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pouw.arithmetic.cross_entropy import NATS
from pouw.arithmetic.transformer_training_rows import ERROR_LIMIT
from pouw.backends.backend import Backend
from pouw.program import Program
from pouw.tensors import Array
from pouw.trace import Trace
from pouw.training.checkpoint import TrainingState, next_name
from pouw.training.training_monitor import Bounds, StepReport
from pouw.training.training_run import Stepped, advanced
from pouw.training.transformer_backward import LOSS, error_name
from pouw.training.transformer_training import TransformerTraining, fixed_arrays, limits, matrices
from pouw.training.transformer_training_programs import step_program

BOUNDS: Final = Bounds(loss=8 << NATS, stuck=50, cut=5, open=100)
"""A guess among 256 tokens costs 5.5 nats; errors are cut at some hundred times their usual size."""

_THOUSAND: Final = 1000


@dataclass(frozen=True, slots=True)
class TextTrainer:
    """Takes the steps of a run.

    Args:
        training: the run.
        backend: where to compute.
        bounds: beyond which it stops.
    """

    training: TransformerTraining
    backend: Backend
    bounds: Bounds = BOUNDS

    def step(self, state: TrainingState, inputs: Array, seed: bytes) -> Stepped:
        """One step.

        Args:
            state: where the run stands.
            inputs: tokens, from `pouw.training.training_text.text_batch`.
            seed: randomness of the step.

        Raises:
            TrainingCollapse: the step is exact, and yet no good: LOSS, WEIGHTS_STUCK, ERRORS_CUT, UNITS_SHUT.
            ProgramError: SHAPE if the inputs are not the program's.
        """
        return advanced(
            state, step_program(self.training, state.checkpoint, seed), inputs, backend=self.backend,
            report=partial(report_text_step, self.training), bounds=self.bounds,
            constants=fixed_arrays(self.training.shape),
        )  # fmt: skip


def report_text_step(training: TransformerTraining, program: Program, trace: Trace) -> StepReport:
    """Look at a step.

    Args:
        training: the run.
        program: from `step_program` or `gradient_program`.
        trace: its run.
    """
    tensors = {program.name_of(number): tensor for number, tensor in enumerate(trace.tensors)}
    places = np.arange(training.rows) % training.tokens < training.tokens - 1
    labels = np.roll(trace.tensors[0][:, 0], -1)[places]
    chosen = np.argmax(tensors["logits"], axis=1)[places]
    moved = [name for name in matrices(training.shape) if next_name(name) in tensors]
    errors = [error_name(f"{kind} {layer}") for layer in range(training.shape.layers) for kind in "xy"]
    gated = [tensors[f"gated {layer}"] for layer in range(training.shape.layers)]
    return StepReport(
        loss=int(tensors[LOSS].astype(np.int64).sum()) // len(labels),
        right=int((chosen == labels).sum()),
        rows=len(labels),
        stuck=max((_share(np.abs(tensors[next_name(name)]) >= limits(name)[1]) for name in moved), default=0),
        cut=max(_share(np.abs(tensors[name]) == ERROR_LIMIT) for name in errors),
        open=min(_share(values != 0) for values in gated),
    )


def _share(hits: NDArray[np.bool_]) -> int:
    return _THOUSAND * int(hits.sum()) // hits.size
