"""Cheats with language models, on answers of a decoder of two layers and width 32."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache

import numpy as np
from blake3 import blake3

from pouw.models.decoder import answer_input, answer_program
from pouw.models.token_sampling import Sampling
from pouw.proofs.commitment import CommitBuilder
from pouw.proofs.verifier import Statement
from pouw.tensors import Array, TensorSpec
from pouw.trace import Trace
from pouw.weights import Weights
from tests.pouw import llama_world
from tests.pouw.red_changes import coarse, grafted, half, in_place_of, zero
from tests.pouw.red_judge import Change, Commit, Work, changed, follow
from tests.pouw.taken_apart import Parts, Reopen, change_item
from tests.pouw.world import CHAIN, MINER, REFERENCE

SAMPLING = Sampling((b"request",))
PROMPT, COUNT = 9, 6
LAYERS = llama_world.SHAPE.layers


def _prompt(n: int) -> Array:
    return llama_world.texts(1, PROMPT, seed=50 + n).T.copy()


def written(
    n: int, changes: Mapping[str, Change] | None = None, weights: Weights = llama_world.WEIGHTS, *,
    sampling: Sampling | None = SAMPLING, prompt: Array | None = None,
) -> Work:  # fmt: skip
    """An answer as a miner writes it that makes some changes at every token."""
    prompt = _prompt(n) if prompt is None else prompt
    program = answer_program(llama_world.MANIFEST, prompt=PROMPT, count=COUNT, sampling=sampling)
    answer = np.zeros((COUNT, 1), prompt.dtype)
    for _ in range(COUNT):
        known = answer_input(prompt, answer)
        tensors = follow(program, weights, known, changes)
        answer = tensors[-1]
    item_id = blake3(b"request %d" % n).digest()
    return Work(item_id, program, known, llama_world.WEIGHTS, Trace(weights, tensors))


@cache
def answer(n: int) -> Work:
    """An honest answer."""
    return written(n)


def coarse_answer(n: int, name: str = "", *, own: bool = False) -> Work:
    """Int4 passed off as int8."""
    work = written(n, weights=coarse(llama_world.WEIGHTS, answer(n).program, name))
    return work if own else replace(work, trace=Trace(work.model, work.trace.tensors))


def another_models_answer(n: int) -> Work:
    """The run of a model of the same shape, under this one's rows."""
    model = llama_world.WEIGHTS
    arrays = {w.name: model.array(w.name) for w in llama_world.MANIFEST.weights}
    others = {name: np.roll(a, 1, axis=0) if "layer" in name else a for name, a in arrays.items()}
    work = written(n, weights=Weights(others))
    return replace(work, trace=Trace(model, work.trace.tensors))


def without(*layers: int, norms: str = "ab") -> dict[str, Change]:
    """Layers, or halves of them, left out: a norm gives zeros; what reads them is wrong, the rest right."""
    return {f"{norm} {layer}": zero for layer in layers for norm in norms}


def narrow(names: Sequence[str]) -> dict[str, Change]:
    """A model of half the width there, padded with zeros."""
    return {f"{name} {layer}": half for name in names for layer in range(LAYERS)}


def smaller_program(n: int) -> Work:
    """The first layer alone, as a program of its own."""
    work, manifest = answer(n), llama_world.MANIFEST
    shape = replace(manifest.shape, layers=1)
    weights = tuple(weight for weight in manifest.weights if "layer 1" not in weight.name)
    small = replace(manifest, shape=shape, layers=manifest.layers[:1], weights=weights)
    program = answer_program(small, prompt=PROMPT, count=COUNT, sampling=SAMPLING)
    return replace(work, trace=Trace(work.model, follow(program, work.model, work.known)), passed_as=program)


def prefilled(n: int, *, through: str) -> Work:
    """Another model wrote the answer, the right one only read it; then the choice, or a logit, was bent."""
    told = another_models_answer(n).trace.answer
    program = answer_program(llama_world.MANIFEST, prompt=PROMPT, count=COUNT)
    known = answer_input(_prompt(n), told)

    def raised(out: Array, _: Mapping[str, Array]) -> Array:
        out[np.arange(COUNT), told[:, 0]] = out.max(axis=1) + 1
        return out

    work = replace(answer(n), program=program, known=known)
    return changed(work, {"choice": in_place_of(told)} if through == "choice" else {"logits": raised})


def greedy(out: Array, named: Mapping[str, Array]) -> Array:
    """The likeliest tokens."""
    likeliest: Array = named["logits"].argmax(axis=1, keepdims=True).astype(out.dtype)
    return likeliest


def other_choice(sampling: Sampling) -> Change:
    """Chosen as another seed or a narrower choice would."""
    program = answer_program(llama_world.MANIFEST, prompt=PROMPT, count=COUNT, sampling=sampling)
    kind = program.steps[-1].op.kind

    def choose(_: Array, named: Mapping[str, Array]) -> Array:
        chosen: Array = REFERENCE.get(kind.run(REFERENCE, [named["logits"]]))
        return chosen

    return choose


def cached(n: int, *, tokens: int) -> Work:
    """The answer to another prompt, of which so many tokens differ, given out again."""
    prompt = _prompt(n)
    prompt[:tokens] = (prompt[:tokens] + 1) % llama_world.SHAPE.vocabulary
    asked = written(n, prompt=prompt)
    known = answer_input(_prompt(n), asked.trace.answer)
    return grafted(replace(answer(n), known=known), asked)


def reshaped(n: int) -> Work:
    """A tensor committed with twice the rows, each half as long: the same bytes in the same leaves."""
    work = answer(n)
    number = next(i for i, step in enumerate(work.program.steps, 1) if step.op.name == "gated 1")
    specs, tensors = list(work.program.tensors), list(work.trace.tensors)
    spec = specs[number]
    specs[number] = TensorSpec(2 * spec.rows, spec.cols // 2, spec.dtype)
    tensors[number] = tensors[number].reshape(2 * spec.rows, -1)
    return replace(
        work, trace=Trace(work.model, tuple(tensors)), unopenable=frozenset({number}),
        passed_as=replace(work.program, tensors=tuple(specs)),
    )  # fmt: skip


def opened(change: Reopen, n: int) -> Commit:
    """Honest work, whose proofs open something else."""
    work = answer(n)
    builder = CommitBuilder(CHAIN, MINER)
    builder.add(work.item_id, work.program, work.trace, answered=bool(work.claim))
    statement = Statement(CHAIN, MINER, [work.item()], builder.root, builder.units)
    return Commit([work], alter=lambda proof: change_item(statement, proof, change, which=0, samples=64))


def lengthen(parts: Parts) -> Parts:
    """A row has some values more."""
    last = parts[-1]
    assert last.data is not None
    return [*parts[:-1], replace(last, data=last.data + b"\1" * 8 * last.spec.dtype.size)]
