"""What work, commits and proofs of the digits cost on this machine.

`python -m tests.pouw.costs [cpu|reference]`. Processor time of this process, one thread; the least of
several runs where one is short.
"""

import sys
import time
from collections.abc import Callable, Sequence
from typing import overload

from genesis.digits import load_digits, load_model
from pouw.backends.backend import Backend
from pouw.backends.select import select_backend
from pouw.commitment import CommitBuilder
from pouw.commons import commons_batch, commons_row
from pouw.fields import measure
from pouw.generator import random_bytes
from pouw.mlp import mlp_program
from pouw.proof import MAX_PROOF_BYTES, Proof
from pouw.tensors import Array
from pouw.trace import Trace, run_program
from pouw.verifier import Statement, WorkItem, check_proof

SAMPLES = 64
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


def report(count: int, backend: Backend) -> str:
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
    per_unit = " ".join(f"{x / count:6.3f}" for x in (drawing, running, adding))
    return (
        f"{count:5d} units {per_unit} ms  prove {proving:5.1f} ms  check {checking:4.1f} ms  {size:4.1f} KiB"
    )


def main() -> None:
    device = sys.argv[1] if len(sys.argv) > 1 else "cpu"
    backend = select_backend(device, threads=1)  # type: ignore[arg-type]
    sys.stdout.write(f"{backend.name}; a unit is {PROGRAM.units} work units\n")
    sys.stdout.write("commit       draw    run  commit (each)\n")
    for count in (16, 128, 1024):
        sys.stdout.write(report(count, backend) + "\n")


if __name__ == "__main__":
    main()
