"""What a step of training costs: `python -m tests.pouw.training_costs`; figures for `pouw/README.md`.

Processor time of one thread in milliseconds, the lower quartile of several runs; float32 is torch's own
network, gradient and optimiser, on the same rows in the same process.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import numpy as np
import torch

from pouw.backends.select import select_backend
from pouw.checkpoint import kept_roots
from pouw.commitment import CommitBuilder
from pouw.fields import measure
from pouw.generator import random_bytes
from pouw.mlp_training import MlpTraining, start_training, step_program
from pouw.tensors import Array
from pouw.trace import run_program
from pouw.verifier import Statement, WorkItem, check_proof

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


def line(widths: tuple[int, ...], batch: int) -> str:
    """One row of the table."""
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
    exact = milliseconds(lambda: run_program(program, state.weights, inputs, backend), 12)
    real = milliseconds(float_step(training, inputs), 12)
    build = milliseconds(lambda: step_program(training, state.checkpoint, b"costs"), 12)
    hashed = milliseconds(commit, 6)
    check = milliseconds(lambda: check_proof(statement, proof, seed=b"seed", samples=64), 12)
    size = measure(proof.to_fields(), limit=1 << 30) / 1024
    return (
        f"| {widths}, {batch} | {program.units:,} | {exact:.1f} | {real:.1f} | {exact / real:.2f} "
        f"| {build:.1f} | {hashed:.1f} | {size:.0f} KiB | {check:.1f} |"
    )


def main() -> None:
    """Print the table."""
    torch.set_num_threads(1)
    print("| widths, batch | units | run | float32 | ratio | build | commit | proof | check |")
    for widths, batch in CASES:
        print(line(widths, batch))


if __name__ == "__main__":
    main()
