"""How far an integer model is from the float one that it was made of."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from pouw.backends.backend import Backend
from pouw.models.bert import BertManifest
from pouw.models.bert_float import FloatBert
from pouw.models.bert_program import Batch, bert_program
from pouw.models.llama import LlamaManifest, Span, llama_program
from pouw.models.llama_float import FloatLlama, Floats
from pouw.program import Program
from pouw.tensors import index_dtype
from pouw.trace import Trace, run_program
from pouw.weights import Weights
from tools.models.artifact import Accuracy

Tokens = NDArray[np.integer]


def measure_decoder(
    model: FloatLlama, manifest: LlamaManifest, weights: Weights, texts: Sequence[Tokens], backend: Backend
) -> Accuracy:
    """Run both models on the same texts.

    Args:
        model: the float one.
        manifest: of the integer one.
        weights: its tensors.
        texts: token sequences of at least two tokens each.
        backend: where the integer model runs.
    """
    dtype = index_dtype(manifest.shape.vocabulary).numpy
    unit = manifest.logit_multiplier / (1 << manifest.sample_shift) / 256 * float(np.log(2))
    losses: list[list[float]] = [[], []]
    cosines: list[float] = []
    same = 0
    layers = _Errors(manifest.shape.layers)
    for text in texts:
        program = llama_program(manifest, Span(1, 0, len(text), len(text)), whole=True)
        trace = run_program(program, weights, text.astype(dtype)[:, None], backend)
        seen: dict[str, Floats] = {}
        pair = (model.logits(text, seen.__setitem__), trace.tensors[-2].astype(np.float32) * np.float32(unit))
        layers.add(program, trace, seen)
        for loss, logits in zip(losses, pair, strict=True):
            loss += _losses(logits[:-1], text[1:])
        cosines += _cosines(*pair)
        same += int((pair[0].argmax(axis=1) == trace.answer[:, 0]).sum())
    mean = [float(np.mean(loss)) for loss in losses]
    return Accuracy(
        tokens=len(cosines),
        float_loss=mean[0],
        integer_loss=mean[1],
        perplexity_ratio=float(np.exp(mean[1] - mean[0])),
        cosine=float(np.mean(cosines)),
        least_cosine=float(np.min(cosines)),
        agreement=same / len(cosines),
        layers=layers.relative,
    )


def measure_encoder(
    model: FloatBert, manifest: BertManifest, weights: Weights, texts: Sequence[Tokens], backend: Backend
) -> Accuracy:
    """Run both models on the same texts; the vectors of the model's own pooling are compared.

    Args:
        model: the float one.
        manifest: of the integer one.
        weights: its tensors.
        texts: at least two token sequences.
        backend: where the integer model runs.
    """
    dtype = index_dtype(manifest.shape.vocabulary).numpy
    layers = _Errors(manifest.shape.layers)
    vectors: list[list[Floats]] = [[], []]
    for text in texts:
        program = bert_program(manifest, Batch(len(text), (len(text),)))
        trace = run_program(program, weights, text.astype(dtype)[:, None], backend)
        seen: dict[str, Floats] = {}
        states = model.states(text, watch=seen.__setitem__)
        layers.add(program, trace, seen)
        vectors[0].append(model.answer(states, manifest.pooling))
        vectors[1].append(trace.answer.astype(np.float32))
    real, got = np.concatenate(vectors[0]), np.concatenate(vectors[1])
    cosines = _cosines(real, got)
    return Accuracy(
        tokens=sum(map(len, texts)),
        float_loss=0.0,
        integer_loss=0.0,
        perplexity_ratio=1.0,
        cosine=float(np.mean(cosines)),
        least_cosine=float(np.min(cosines)),
        agreement=float(np.mean(_nearest(real) == _nearest(got))),
        layers=layers.relative,
    )


class _Errors:
    """Squares of the residual stream's error, and of the stream, layer by layer."""

    def __init__(self, layers: int) -> None:
        self._error = np.zeros(layers + 1)
        self._whole = np.zeros(layers + 1)

    def add(self, program: Program, trace: Trace, seen: Mapping[str, Floats]) -> None:
        numbers = {program.name_of(number): number for number in range(len(program.tensors))}
        for layer in range(len(self._error)):
            name = f"x {layer}"
            real, got = (part.astype(np.float64) for part in (seen[name], trace.tensors[numbers[name]]))
            # The unit of the stream follows from what is compared: the one that fits best.
            unit = float((real * got).sum()) / max(float((got * got).sum()), 1.0)
            self._error[layer] += float(((real - unit * got) ** 2).sum())
            self._whole[layer] += float((real * real).sum())

    @property
    def relative(self) -> tuple[float, ...]:
        return tuple(float(e) for e in np.sqrt(self._error / np.maximum(self._whole, 1e-30)))


def _cosines(real: Floats, got: Floats) -> list[float]:
    lengths = np.linalg.norm(real, axis=1) * np.linalg.norm(got, axis=1)
    return [float(cosine) for cosine in (real * got).sum(axis=1) / np.maximum(lengths, 1e-30)]


def _nearest(vectors: Floats) -> NDArray[np.integer]:
    """The nearest other vector of each."""
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-30)
    near = unit @ unit.T
    np.fill_diagonal(near, -2)
    nearest: NDArray[np.integer] = near.argmax(axis=1)
    return nearest


def _losses(logits: Floats, following: Tokens) -> list[float]:
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    total = np.log(np.exp(shifted).sum(axis=1))
    return list(total - shifted[np.arange(len(following)), following])
