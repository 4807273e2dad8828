"""What encoder work, commits and proofs cost on this machine: `python -m tests.pouw.encoder_costs`.

An encoder of width 384 with 6 layers, 12 heads and a feed-forward of 1,536, one thread, processor time of
this thread; the least of some runs, proofs as means over some seeds.
"""

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import mean

import numpy as np
import torch

from pouw.backends.backend import Backend
from pouw.backends.cpu import open_cpu
from pouw.fields import measure
from pouw.models.bert import BertManifest, BertShape
from pouw.models.bert_program import Batch, bert_program
from pouw.proofs.commitment import CommitBuilder
from pouw.proofs.proof import Proof
from pouw.proofs.verifier import Statement, WorkItem, check_proof
from pouw.trace import run_program
from pouw.weights import Weights
from tests.pouw.bert_world import integer_bert
from tests.pouw.world import CHAIN, MINER

SHAPE = BertShape(vocabulary=8000, width=384, layers=6, heads=12, hidden=1536, positions=512)
BATCHES = ((128,) * 8, (512,))
SAMPLES, SEEDS, RUNS, LIMIT = 64, 6, 3, 1 << 26
ITEM = bytes(32)


@dataclass(frozen=True)
class Costs:
    """Of one batch."""

    texts: int
    tokens: int
    units: int
    work_ms: float
    commit_ms: float
    proof_kib: float
    check_ms: float

    def __str__(self) -> str:
        return (
            f"{self.texts} texts of {self.tokens} tokens: {self.units / 1e9:.1f} G units, "
            f"work {self.work_ms:.0f} ms, commit {self.commit_ms:.0f} ms, proof {self.proof_kib:.0f} KiB, "
            f"check {self.check_ms:.0f} ms"
        )


def costs_of(
    manifest: BertManifest, weights: Weights, lengths: tuple[int, ...], backend: Backend, *, seeds: int
) -> Costs:
    """Measure a batch of texts of these lengths."""
    batch = Batch(max(lengths), lengths)
    program = bert_program(manifest, batch)
    words = np.random.default_rng(0).integers(0, SHAPE.vocabulary, (len(lengths) * batch.tokens, 1))
    inputs = words.astype("<i2")
    work = float("inf")
    for _ in range(RUNS):
        start = time.thread_time()
        trace = run_program(program, weights, inputs, backend)
        work = min(work, time.thread_time() - start)
    # The first commit hashes the model and compiles what hashes; a miner does both once.
    CommitBuilder(CHAIN, MINER).add(ITEM, program, trace, answered=True)
    start = time.thread_time()
    builder = CommitBuilder(CHAIN, MINER)
    builder.add(ITEM, program, trace, answered=True)
    item = WorkItem(ITEM, program, inputs.__getitem__, trace.answer)
    statement = Statement(CHAIN, MINER, [item], builder.root, program.units)
    commit = time.thread_time() - start
    checks, sizes = [], []
    for number in range(seeds):
        seed = b"%d" % number
        fields = builder.prove(seed, SAMPLES).to_fields()
        start = time.thread_time()
        check_proof(statement, Proof.from_fields(fields, max_bytes=LIMIT), seed=seed, samples=SAMPLES)
        checks.append(time.thread_time() - start)
        sizes.append(measure(fields, limit=LIMIT))
    return Costs(
        len(lengths), batch.tokens, program.units, work * 1e3, commit * 1e3, mean(sizes) / 1024,
        mean(checks) * 1e3,
    )  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a line per batch."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.pouw.encoder_costs", description=__doc__,
        epilog="Example: python -m tests.pouw.encoder_costs --seeds 2 --json",
    )  # fmt: skip
    parser.add_argument("--seeds", type=int, default=SEEDS, help=f"proofs of each batch ({SEEDS})")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    options = parser.parse_args(arguments)
    if options.seeds < 1:
        parser.error(f"--seeds is at least 1, not {options.seeds}")
    torch.set_num_threads(1)
    backend = open_cpu()
    manifest, weights = integer_bert(SHAPE)
    found = []
    for lengths in BATCHES:
        found.append(costs_of(manifest, weights, lengths, backend, seeds=options.seeds))
        if not options.json:
            print(found[-1], flush=True)
    if options.json:
        print(json.dumps({"backend": backend.name, "batches": [asdict(costs) for costs in found]}))


if __name__ == "__main__":
    main()
