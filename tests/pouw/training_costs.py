"""What a step of training costs: `python -m tests.pouw.training_costs`; figures for `pouw/training`.

Processor time of one thread in milliseconds, the lower quartile of several runs; float32 is torch's own
network, gradient and optimiser, on the same rows in the same process.
"""

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise

import numpy as np
import torch

from pouw.arithmetic.generator import random_bytes
from pouw.backends.select import select_backend
from pouw.fields import measure
from pouw.proofs.commitment import CommitBuilder
from pouw.proofs.verifier import Statement, WorkItem, check_proof
from pouw.tensors import Array
from pouw.trace import run_program
from pouw.training.checkpoint import kept_roots
from pouw.training.mlp_training import MlpTraining, start_training, step_program

CASES = (
    ((64, 64, 32, 10), 64),
    ((256, 256, 256, 16), 256),
    ((512, 512, 512, 16), 512),
    ((1024, 1024, 1024, 16), 512),
)


def milliseconds(work: Callable[[], object], runs: int) -> float:
    """The lower quartile of a job's processor time."""
    work()
    spent = []
    for _ in range(runs):
        before = time.thread_time()
        work()
        spent.append(time.thread_time() - before)
    return sorted(spent)[runs // 4] * 1e3


def rows(training: MlpTraining) -> Array:
    """Input of the right shape."""
    width = training.widths[0]
    noise = random_bytes(b"costs", path=(), count=training.batch * (width + 1 + training.noise))
    inputs = np.frombuffer(noise, np.int8).reshape(training.batch, -1).copy()
    inputs[:, : width + 1] = (inputs[:, : width + 1] & 15) % 10
    return inputs


def float_step(training: MlpTraining, inputs: Array) -> Callable[[], object]:
    """A step of the same network in float32."""
    layers: list[torch.nn.Module] = []
    for width, above in pairwise(training.widths):
        layers += [torch.nn.Linear(width, above), torch.nn.ReLU()]
    network = torch.nn.Sequential(*layers[:-1])
    optimiser = torch.optim.SGD(network.parameters(), lr=1e-3, momentum=0.875)
    shown = torch.from_numpy(inputs[:, : training.widths[0]]).float()
    labels = torch.from_numpy(inputs[:, training.widths[0]]).long()

    def step() -> None:
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(network(shown), labels).backward()  # type: ignore[no-untyped-call]
        optimiser.step()

    return step


@dataclass(frozen=True)
class Costs:
    """Of one step; one row of the table."""

    widths: tuple[int, ...]
    batch: int
    units: int
    run_ms: float
    float32_ms: float
    build_ms: float
    commit_ms: float
    proof_kib: float
    check_ms: float

    def __str__(self) -> str:
        return (
            f"| {self.widths}, {self.batch} | {self.units:,} | {self.run_ms:.1f} | {self.float32_ms:.1f} "
            f"| {self.run_ms / self.float32_ms:.2f} | {self.build_ms:.1f} | {self.commit_ms:.1f} "
            f"| {self.proof_kib:.0f} KiB | {self.check_ms:.1f} |"
        )


def costs_of(widths: tuple[int, ...], batch: int, *, runs: int) -> Costs:
    """Measure a step of such a network; what is slow is run half as often."""
    backend = select_backend("cpu", threads=1, loops="now")
    training = MlpTraining("costs", widths, batch)
    state, inputs = start_training(training, b"costs"), rows(training)
    program = step_program(training, state.checkpoint, b"costs")
    trace = run_program(program, state.weights, inputs, backend)

    def commit() -> CommitBuilder:
        builder = CommitBuilder(b"chain", b"miner")
        builder.add(bytes(32), program, replace(trace, trees={}), answered=True)
        assert builder.root
        return builder

    builder = commit()
    proof = builder.prove(b"seed", 64)
    item = WorkItem(bytes(32), program, inputs.__getitem__, kept=kept_roots(program, trace))
    statement = Statement(b"chain", b"miner", [item], builder.root, builder.units)
    return Costs(
        widths=widths,
        batch=batch,
        units=program.units,
        run_ms=milliseconds(lambda: run_program(program, state.weights, inputs, backend), runs),
        float32_ms=milliseconds(float_step(training, inputs), runs),
        build_ms=milliseconds(lambda: step_program(training, state.checkpoint, b"costs"), runs),
        commit_ms=milliseconds(commit, max(1, runs // 2)),
        check_ms=milliseconds(lambda: check_proof(statement, proof, seed=b"seed", samples=64), runs),
        proof_kib=measure(proof.to_fields(), limit=1 << 30) / 1024,
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.pouw.training_costs", description=__doc__,
        epilog="Example: python -m tests.pouw.training_costs --cases 2 --runs 4",
    )  # fmt: skip
    parser.add_argument("--cases", type=int, default=len(CASES), help=f"the first so many ({len(CASES)})")
    parser.add_argument("--runs", type=int, default=12, help="of each job (12)")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    options = parser.parse_args(arguments)
    if options.runs < 1:
        parser.error(f"--runs is at least 1, not {options.runs}")
    torch.set_num_threads(1)
    if not options.json:
        print("| widths, batch | units | run | float32 | ratio | build | commit | proof | check |")
    found = []
    for widths, batch in CASES[: options.cases]:
        found.append(costs_of(widths, batch, runs=options.runs))
        if not options.json:
            print(found[-1], flush=True)
    if options.json:
        print(json.dumps([asdict(costs) for costs in found]))


if __name__ == "__main__":
    main()
