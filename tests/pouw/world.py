"""A small chain's worth of work for the tests: a model, a data set, honest traces, and commits of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from blake3 import blake3
from numpy.typing import NDArray

from pouw.arithmetic.generator import random_bytes
from pouw.arithmetic.requant import Requant
from pouw.backends.reference import ReferenceBackend
from pouw.models.mlp import Layer, ModelManifest, bias_name, mlp_program, weight_name
from pouw.program import Program
from pouw.proofs.commitment import CommitBuilder
from pouw.proofs.proof import Proof
from pouw.proofs.verifier import Statement, WorkItem
from pouw.tensors import Array
from pouw.trace import Trace, run_program
from pouw.training.commons import commons_batch, commons_row
from pouw.weights import Weights

CHAIN = b"headrace-test"
MINER = bytes(range(32))
SEED = b"beacon of a later block"
WIDTHS = (64, 24, 16, 10)
REFERENCE = ReferenceBackend()


def int8s(name: str, *shape: int) -> NDArray[np.int8]:
    """Pseudo-random int8 of the full range."""
    noise = random_bytes(name.encode(), path=(), count=int(np.prod(shape)))
    return np.frombuffer(noise, np.int8).reshape(shape).copy()


def make_model(name: str = "small", widths: Sequence[int] = WIDTHS) -> tuple[ModelManifest, Weights]:
    """A network of pseudo-random weights."""
    arrays: dict[str, Array] = {}
    for layer, (inputs, outputs) in enumerate(pairwise(widths)):
        arrays[weight_name(layer)] = int8s(f"{name} weight {layer}", outputs, inputs)
        arrays[bias_name(layer)] = int8s(f"{name} bias {layer}", outputs, 1).astype(np.int32) * 8
    weights = Weights(arrays)
    last = len(widths) - 2
    layers = tuple(
        Layer(
            inputs=widths[layer],
            outputs=widths[layer + 1],
            requant=None if layer == last else Requant(3, 11, low=0),
            weight_root=weights.tree(weight_name(layer)).root,
            bias_root=weights.tree(bias_name(layer)).root,
            bias_limit=1024,
        )
        for layer in range(last + 1)
    )
    return ModelManifest(name, layers), weights


MANIFEST, WEIGHTS = make_model()
DATASET = np.abs(int8s("images", 100, 64)) % 17


def name_item(index: int) -> bytes:
    """The id of a commons unit."""
    return blake3(b"unit %d" % index).digest()


@dataclass(frozen=True)
class Job:
    """One item as both sides know it."""

    item_id: bytes
    program: Program
    inputs: Array
    answered: bool = False

    def run(self) -> Trace:
        """The honest trace."""
        return run_program(self.program, WEIGHTS, self.inputs, REFERENCE)

    def work(self, answer: Array | None = None) -> WorkItem:
        """What the chain knows; the honest answer unless another was given."""
        if self.answered and answer is None:
            answer = self.run().answer
        return WorkItem(self.item_id, self.program, self.inputs.__getitem__, answer)


def commons_job(index: int, batch: int = 4) -> Job:
    """A commons unit."""
    inputs = commons_batch(DATASET, seed=b"commons", index=index, batch=batch)
    assert np.array_equal(
        inputs[1 % batch], commons_row(DATASET, seed=b"commons", index=index, row=1 % batch)
    )
    return Job(name_item(index), mlp_program(MANIFEST, batch), inputs)


def paid_job(number: int, batch: int = 3) -> Job:
    """A task that somebody pays for."""
    inputs = int8s(f"task {number}", batch, 64)
    return Job(blake3(b"task %d" % number).digest(), mlp_program(MANIFEST, batch), inputs, answered=True)


@dataclass
class Case:
    """A commit with its statement, to be spoilt by the tests."""

    jobs: list[Job]
    builder: CommitBuilder
    statement: Statement

    def prove(self, seed: bytes = SEED, samples: int = 64) -> Proof:
        """What the builder opens."""
        return self.builder.prove(seed, samples)


def make_case(
    jobs: Sequence[Job],
    traces: Sequence[Trace] | None = None,
    *,
    chain_id: bytes = CHAIN,
    miner: bytes = MINER,
) -> Case:
    """Commit to some jobs, with their honest traces unless others are given."""
    builder = CommitBuilder(chain_id, miner)
    for job, trace in zip(jobs, traces or [job.run() for job in jobs], strict=True):
        builder.add(job.item_id, job.program, trace, answered=job.answered)
    items = [job.work() for job in jobs]
    return Case(list(jobs), builder, Statement(CHAIN, MINER, items, builder.root, builder.units))


def usual_case() -> Case:
    """Two paid tasks and six commons units."""
    return make_case([paid_job(0), paid_job(1), *(commons_job(i) for i in range(6))])
