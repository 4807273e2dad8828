"""A training run on one machine: step after step, each looked at before the next."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from pouw.backends.backend import Backend
from pouw.program import Program
from pouw.tensors import Array
from pouw.trace import Trace, run_program
from pouw.training.checkpoint import TrainingState, advance
from pouw.training.mlp_training import MlpTraining, constants, step_program
from pouw.training.training_monitor import Bounds, StepReport, check_report, report_step


@dataclass(frozen=True, slots=True)
class Stepped:
    """One step that was taken.

    Args:
        state: where it led.
        program: what was run.
        trace: all that came of it, to be committed.
        report: what it looked like.
    """

    state: TrainingState
    program: Program
    trace: Trace
    report: StepReport


def advanced(
    state: TrainingState,
    program: Program,
    inputs: Array,
    *,
    backend: Backend,
    report: Callable[[Program, Trace], StepReport],
    bounds: Bounds,
    constants: Mapping[str, Array],
) -> Stepped:
    """Run one step's program, look at what came of it, and take its checkpoint.

    Args:
        state: where the run stands.
        program: of the step.
        inputs: what it learns from.
        backend: where to compute.
        report: what the step looks like.
        bounds: beyond which the run stops.
        constants: weights that no step changes, by name.

    Raises:
        TrainingCollapse: the step is exact, and yet no good: LOSS, WEIGHTS_STUCK, ERRORS_CUT, UNITS_SHUT.
        ProgramError: SHAPE if the inputs are not the program's.
    """
    trace = run_program(program, state.weights, inputs, backend)
    seen = report(program, trace)
    check_report(seen, bounds)
    return Stepped(advance(state.checkpoint, program, trace, constants=constants), program, trace, seen)


@dataclass(frozen=True, slots=True)
class Trainer:
    """Takes the steps of a run.

    Args:
        training: the run.
        backend: where to compute.
        bounds: beyond which it stops.
    """

    training: MlpTraining
    backend: Backend
    bounds: Bounds = Bounds()  # noqa: RUF009 - frozen

    def step(self, state: TrainingState, inputs: Array, seed: bytes) -> Stepped:
        """One step.

        Args:
            state: where the run stands.
            inputs: int8, from `pouw.training.training_data.training_batch`.
            seed: randomness of the step.

        Raises:
            TrainingCollapse: the step is exact, and yet no good: LOSS, WEIGHTS_STUCK, ERRORS_CUT, UNITS_SHUT.
            ProgramError: SHAPE if the inputs are not the program's.
        """
        return advanced(
            state, step_program(self.training, state.checkpoint, seed), inputs, backend=self.backend,
            report=partial(report_step, self.training), bounds=self.bounds,
            constants=constants(self.training),
        )  # fmt: skip
