"""What a transformer's training step costs: `python -m tests.pouw.transformer_training_costs`.

Processor time of one thread in milliseconds, the lower quartile of several runs in turn; float32 is torch's
own forward, gradient and the same optimiser, on the same tokens in the same process. Figures for
`pouw/training/README.md`.
"""

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch

from pouw.arithmetic.generator import random_below
from pouw.backends.select import select_backend
from pouw.fields import measure
from pouw.models.llama import LlamaShape
from pouw.proofs.commitment import CommitBuilder
from pouw.proofs.verifier import Statement, WorkItem, check_proof
from pouw.trace import run_program, trace_bytes
from pouw.training.checkpoint import kept_roots
from pouw.training.transformer_training import TransformerTraining, start_training
from pouw.training.transformer_training_programs import step_program
from tests.pouw.float_transformer_training import FloatTraining

CASES = ((128, 4, 64), (128, 16, 64), (256, 16, 64), (512, 16, 64))
"""Width, sequences, tokens."""


def milliseconds(jobs: Sequence[Callable[[], object]], runs: int) -> list[float]:
    """The lower quartile of each job's processor time; jobs take turns."""
    spent: list[list[float]] = [[] for _ in jobs]
    for turn in range(runs + 1):
        for job, times in zip(jobs, spent, strict=True):
            before = time.thread_time()
            job()
            if turn:
                times.append(time.thread_time() - before)
    return [sorted(times)[runs // 4] * 1e3 for times in spent]


@dataclass(frozen=True)
class Costs:
    """Of one step; one row of the table."""

    width: int
    sequences: int
    tokens: int
    units: int
    run_ms: float
    float32_ms: float
    build_ms: float
    commit_ms: float
    trace_mib: float
    proof_kib: float
    check_ms: float

    def __str__(self) -> str:
        return (
            f"| {self.width}, {self.sequences} x {self.tokens} | {self.units / 1e9:.1f} G "
            f"| {self.run_ms:.0f} | {self.float32_ms:.0f} | {self.run_ms / self.float32_ms:.2f} "
            f"| {self.build_ms:.0f} | {self.commit_ms:.0f} | {self.trace_mib:.0f} MiB "
            f"| {self.proof_kib:.0f} KiB | {self.check_ms:.0f} |"
        )


def costs_of(device: str, width: int, sequences: int, tokens: int) -> Costs:
    """Measure a step of such a model."""
    backend = select_backend(device, threads=1, loops="now")
    shape = LlamaShape(256, width, 2, width // 32, width // 32, 32, 2 * width, tokens)
    training = TransformerTraining("costs", shape, sequences, tokens)
    state = start_training(training, b"costs")
    inputs = random_below(b"costs", path=(), bound=96, count=training.rows).reshape(-1, 1).astype("<i2")
    program = step_program(training, state.checkpoint, b"")
    trace, twin = run_program(program, state.weights, inputs, backend), FloatTraining(training, state.weights)

    def commit() -> CommitBuilder:
        builder = CommitBuilder(b"chain", b"miner")
        builder.add(bytes(32), program, trace, answered=True)
        assert builder.root
        return builder

    builder = commit()
    proof = builder.prove(b"seed", 64)
    item = WorkItem(bytes(32), program, np.asarray(inputs).__getitem__, kept=kept_roots(program, trace))
    statement = Statement(b"chain", b"miner", [item], builder.root, builder.units)
    exact, real, build, hashed, check = milliseconds(
        [
            lambda: run_program(program, state.weights, inputs, backend),
            lambda: twin.step(inputs, 0),
            lambda: step_program(training, state.checkpoint, b""),
            commit,
            lambda: check_proof(statement, proof, seed=b"seed", samples=64),
        ],
        runs=7 if width < 512 else 3,
    )
    size = measure(proof.to_fields(), limit=1 << 30) / 1024
    return Costs(
        width, sequences, tokens, program.units, exact, real, build, hashed, trace_bytes(program) / 2**20,
        size, check,
    )  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.pouw.transformer_training_costs", description=__doc__,
        epilog="Example: python -m tests.pouw.transformer_training_costs cpu --cases 2",
    )  # fmt: skip
    parser.add_argument("device", nargs="?", default="cpu", help="what computes: cpu, reference, cuda (cpu)")
    parser.add_argument("--cases", type=int, default=len(CASES), help=f"the first so many ({len(CASES)})")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    if not options.json:
        print("| width, tokens | units | run | float32 | ratio | build | commit | trace | proof | check |")
    found = []
    for case in CASES[: options.cases]:
        found.append(costs_of(options.device, *case))
        if not options.json:
            print(found[-1], flush=True)
    if options.json:
        print(json.dumps([asdict(costs) for costs in found]))


if __name__ == "__main__":
    main()
