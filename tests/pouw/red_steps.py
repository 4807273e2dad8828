"""Cheats with encoders, commons units, steps of training and votes."""

from dataclasses import replace
from functools import cache

import numpy as np
from blake3 import blake3

from pouw.models.bert import Pooling
from pouw.models.bert_program import Batch, bert_program
from pouw.program import Program
from pouw.trace import Trace
from pouw.training.checkpoint import kept_roots
from pouw.training.mlp_training import MlpTraining, step_program
from pouw.training.vote_program import checkpoint_of, vote_program
from pouw.training.voted_training import VotedTraining
from tests.pouw import bert_world, text_world, training_world, world
from tests.pouw.red_changes import grafted
from tests.pouw.red_judge import Work, follow, operands_of
from tests.pouw.world import REFERENCE


@cache
def vector(n: int, lengths: tuple[int, ...] = (9, 4)) -> Work:
    """Texts to vectors; with other lengths than the prescribed ones the padding is read as text."""
    manifest, model = bert_world.MANIFEST, bert_world.WEIGHTS
    program = bert_program(manifest, Batch(9, (9, 4), (5, 2)), pooling=Pooling.MEAN)
    done = bert_program(manifest, Batch(9, lengths, (5, 2)), pooling=Pooling.MEAN)
    batch = Batch(9, (9, 4), (5, 2))
    known = bert_world.padded(batch, bert_world.sentences(batch.lengths, seed=10 * n))
    trace = Trace(model, follow(done, model, known))
    return Work(blake3(b"texts %d" % n).digest(), program, known, model, trace)


def unit(index: int) -> Work:
    """A commons unit of the digits network."""
    job = world.commons_job(index)
    return Work(job.item_id, job.program, job.inputs, world.WEIGHTS, job.run(), claim="")


def units(n: int) -> list[Work]:
    """Ten of them."""
    return [unit(10 * n + i) for i in range(10)]


def not_worked_on(work: Work) -> Work:
    """Numbers in place of all values, none of which any op gives."""
    tensors = [work.known]
    for step in work.program.steps:
        operands = operands_of(work.program, step, work.model, tensors)
        tensors.append(step.op.kind.run(REFERENCE, operands) ^ 1)
    return replace(work, trace=Trace(work.model, (work.known ^ 1, *tensors[1:])))


def first_row_for_all(work: Work) -> Work:
    """One row was computed; the input is the prescribed one."""
    alike = np.repeat(work.known[:1], len(work.known), axis=0)
    return grafted(work, replace(work, trace=Trace(work.model, follow(work.program, work.model, alike))))


TEXT_HERE = text_world.step(text_world.START, 0)
MLP_HERE = training_world.step(training_world.START, 0)


@cache
def mlp_step(n: int) -> Work:
    """A training step of the digits network."""
    job = training_world.step_unit(MLP_HERE, n + 1)
    trace = Trace(MLP_HERE.weights, follow(job.program, MLP_HERE.weights, job.inputs))
    return Work(job.item_id, job.program, job.inputs, MLP_HERE.weights, trace, claim="checkpoint")


@cache
def text_step(n: int, *, shard: bool = False) -> Work:
    """A training step of a transformer, or a shard of one."""
    job = (text_world.gradient_unit if shard else text_world.step_unit)(TEXT_HERE, n + 1)
    trace = Trace(TEXT_HERE.weights, follow(job.program, TEXT_HERE.weights, job.inputs))
    return Work(job.item_id, job.program, job.inputs, TEXT_HERE.weights, trace, claim="checkpoint")


def as_run(work: Work, program: Program) -> Work:
    """The same work done by another program of the same tensors: another rate, another seed."""
    return replace(work, trace=Trace(work.model, follow(program, work.model, work.known)))


def own_rate(n: int) -> Work:
    """An update that is larger than the run's."""
    faster = replace(training_world.TRAINING, rate=10)
    return as_run(mlp_step(n), step_program(faster, MLP_HERE.checkpoint, b"noise %d" % (n + 1)))


def own_luck(n: int) -> Work:
    """Rounding by another seed than the step's."""
    return as_run(mlp_step(n), step_program(training_world.TRAINING, MLP_HERE.checkpoint, b"mine"))


def other_data(work: Work, other: Work) -> Work:
    """A step on a shard of one's own choice."""
    return replace(work, trace=Trace(work.model, follow(work.program, work.model, other.known)))


def other_claim(work: Work) -> Work:
    """A checkpoint is announced that is not the committed one."""
    roots = list(kept_roots(work.program, work.trace))
    roots[4] = bytes(32)
    return replace(work, told_roots=tuple(roots))


VOTING = VotedTraining(
    MlpTraining("red votes", (64, 12, 10), batch=16), b"s", step_size=1 << 14, slower=(3,), memory=2
)


@cache
def vote(n: int) -> Work:
    """A vote of two shards."""
    numbers = VOTING.in_use(VOTING.start())
    program = vote_program(VOTING.training, checkpoint_of(VOTING.training, 0, VOTING.roots(numbers)), 2)
    shards = [training_world.batch_of(VOTING.training, 2 * n + i) for i in range(2)]
    known, model = np.concatenate(shards), VOTING.weights(numbers)
    trace = Trace(model, follow(program, model, known))
    return Work(blake3(b"vote %d" % n).digest(), program, known, model, trace)
