"""What work, commits and proofs of the digits cost on this machine: `python -m tests.pouw.costs`.

Processor time of this process, one thread; the least of several runs where one is short.
"""

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import overload

from genesis.digits import load_digits, load_model
from pouw.arithmetic.generator import random_bytes
from pouw.backends.backend import Backend
from pouw.backends.select import select_backend
from pouw.fields import measure
from pouw.models.mlp import mlp_program
from pouw.proofs.commitment import CommitBuilder
from pouw.proofs.proof import MAX_PROOF_BYTES, Proof
from pouw.proofs.verifier import Statement, WorkItem, check_proof
from pouw.tensors import Array
from pouw.trace import Trace, run_program
from pouw.training.commons import commons_batch, commons_row

SAMPLES = 64
COUNTS = (16, 128, 1024)
"""Units of a commit."""

DIGITS = load_digits()
MODEL = load_model()
COMMONS_BATCH = 16
PROGRAM = mlp_program(MODEL.manifest, COMMONS_BATCH)


def name(index: int) -> bytes:
    return random_bytes(b"item", path=(index,), count=32)


def inputs(index: int) -> Array:
    return commons_batch(DIGITS.images, seed=b"seed", index=index, batch=COMMONS_BATCH)


class Units(Sequence[WorkItem]):
    """Commons units, made when they are looked at."""

    def __init__(self, count: int) -> None:
        self._count = count

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> WorkItem: ...
    @overload
    def __getitem__(self, index: slice) -> list[WorkItem]: ...
    def __getitem__(self, index: int | slice) -> WorkItem | list[WorkItem]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(self._count))]
        place = index

        def row(number: int) -> Array:
            return commons_row(DIGITS.images, seed=b"seed", index=place, row=number)

        return WorkItem(name(index), PROGRAM, row)


def spent(action: Callable[[], object], times: int = 1) -> float:
    """Milliseconds, the least of some runs."""
    least = []
    for _ in range(times):
        start = time.process_time_ns()
        action()
        least.append((time.process_time_ns() - start) / 1e6)
    return min(least)


@dataclass(frozen=True)
class Costs:
    """Of one commit: milliseconds of each unit, then of the whole; KiB of its proof."""

    units: int
    draw_ms: float
    run_ms: float
    commit_ms: float
    prove_ms: float
    check_ms: float
    proof_kib: float

    def __str__(self) -> str:
        each = " ".join(f"{spent:6.3f}" for spent in (self.draw_ms, self.run_ms, self.commit_ms))
        return (
            f"{self.units:5d} units {each} ms  prove {self.prove_ms:5.1f} ms  check {self.check_ms:4.1f} ms  "
            f"{self.proof_kib:4.1f} KiB"
        )


def costs_of(count: int, backend: Backend) -> Costs:
    """Measure a commit of so many units."""
    builder = CommitBuilder(b"headrace-costs", b"miner")
    batches: list[Array] = []
    traces: list[Trace] = []
    drawing = spent(lambda: batches.extend(map(inputs, range(count))))
    running = spent(lambda: traces.extend(run_program(PROGRAM, MODEL.weights, x, backend) for x in batches))
    adding = spent(lambda: [builder.add(name(i), PROGRAM, trace) for i, trace in enumerate(traces)])
    statement = Statement(b"headrace-costs", b"miner", Units(count), builder.root, builder.units, answered=())
    fields = builder.prove(b"beacon", SAMPLES).to_fields()
    proving = spent(lambda: builder.prove(b"beacon", SAMPLES), times=5)

    def check() -> None:
        check_proof(statement, Proof.from_fields(fields), seed=b"beacon", samples=SAMPLES)

    size = measure(fields, limit=MAX_PROOF_BYTES) / 1024
    checking = spent(check, times=20)
    return Costs(count, drawing / count, running / count, adding / count, proving, checking, size)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a line for each size of a commit."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.pouw.costs", description=__doc__,
        epilog="Example: python -m tests.pouw.costs reference --units 16 128",
    )  # fmt: skip
    parser.add_argument("device", nargs="?", default="cpu", help="what computes: cpu, reference, cuda (cpu)")
    parser.add_argument(
        "--units", type=int, nargs="+", default=COUNTS, metavar="N", help="of each commit (16 128 1024)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    options = parser.parse_args(arguments)
    backend = select_backend(options.device, threads=1)
    if options.json:
        found = [asdict(costs_of(count, backend)) for count in options.units]
        print(json.dumps({"backend": backend.name, "work_units": PROGRAM.units, "commits": found}))
        return
    print(f"{backend.name}; a unit is {PROGRAM.units} work units")
    print("commit       draw    run  commit (each)")
    for count in options.units:
        print(costs_of(count, backend), flush=True)


if __name__ == "__main__":
    main()
