"""What encoder work, commits and proofs cost on this machine.

`python -m tests.pouw.encoder_costs`: an encoder of width 384 with 6 layers, 12 heads and a feed-forward of
1,536, one thread, processor time of this thread; the least of some runs, proofs as means over some seeds.
"""

import time
from statistics import mean

import numpy as np
import torch

from pouw.backends.cpu import open_cpu
from pouw.bert import BertShape
from pouw.bert_program import Batch, bert_program
from pouw.commitment import CommitBuilder
from pouw.fields import measure
from pouw.proof import Proof
from pouw.trace import run_program
from pouw.verifier import Statement, WorkItem, check_proof
from tests.pouw.bert_world import integer_bert
from tests.pouw.world import CHAIN, MINER

SHAPE = BertShape(vocabulary=8000, width=384, layers=6, heads=12, hidden=1536, positions=512)
BATCHES = ((128,) * 8, (512,))
SAMPLES, SEEDS, RUNS, LIMIT = 64, 6, 3, 1 << 26
ITEM = bytes(32)


def main() -> None:
    """Print a line per batch."""
    torch.set_num_threads(1)
    backend = open_cpu()
    manifest, weights = integer_bert(SHAPE)
    for lengths in BATCHES:
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
        statement = Statement(
            CHAIN, MINER, [WorkItem(ITEM, program, inputs.__getitem__, trace.answer)], builder.root,
            program.units,
        )  # fmt: skip
        commit = time.thread_time() - start
        checks, sizes = [], []
        for number in range(SEEDS):
            seed = b"%d" % number
            fields = builder.prove(seed, SAMPLES).to_fields()
            start = time.thread_time()
            check_proof(statement, Proof.from_fields(fields, max_bytes=LIMIT), seed=seed, samples=SAMPLES)
            checks.append(time.thread_time() - start)
            sizes.append(measure(fields, limit=LIMIT))
        print(
            f"{len(lengths)} texts of {batch.tokens} tokens: {program.units / 1e9:.1f} G units, "
            f"work {work * 1e3:.0f} ms, commit {commit * 1e3:.0f} ms, proof {mean(sizes) / 1024:.0f} KiB, "
            f"check {mean(checks) * 1e3:.0f} ms"
        )


if __name__ == "__main__":
    main()
