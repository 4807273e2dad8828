"""How far an integer model is from the float one that it was made of."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pouw.backends.backend import Backend
from pouw.llama import LlamaManifest, Span, llama_program
from pouw.llama_float import FloatLlama, Floats
from pouw.tensors import index_dtype
from pouw.trace import run_program
from pouw.weights import Weights

Tokens = NDArray[np.integer]


@dataclass(frozen=True, slots=True)
class Distance:
    """Measured on text that set no scale.

    Args:
        tokens: how many were looked at.
        float_loss: mean natural logarithm of the float model's perplexity.
        integer_loss: of the integer model's.
        cosine: mean over positions, between both models' logits.
        least_cosine: of the worst position.
        agreement: share of positions where both choose the same token.
    """

    tokens: int
    float_loss: float
    integer_loss: float
    cosine: float
    least_cosine: float
    agreement: float

    @property
    def perplexity_ratio(self) -> float:
        """Perplexity of the integer model over that of the float model."""
        return float(np.exp(self.integer_loss - self.float_loss))


def measure_distance(
    model: FloatLlama, manifest: LlamaManifest, weights: Weights, texts: Sequence[Tokens], backend: Backend
) -> Distance:
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
    for text in texts:
        program = llama_program(manifest, Span(1, 0, len(text), len(text)))
        trace = run_program(program, weights, text.astype(dtype)[:, None], backend)
        pair = (model.logits(text), trace.tensors[-2].astype(np.float32) * np.float32(unit))
        for loss, logits in zip(losses, pair, strict=True):
            loss += _losses(logits[:-1], text[1:])
        lengths = np.linalg.norm(pair[0], axis=1) * np.linalg.norm(pair[1], axis=1)
        cosines += list((pair[0] * pair[1]).sum(axis=1) / lengths)
        same += int((pair[0].argmax(axis=1) == trace.answer[:, 0]).sum())
    return Distance(
        tokens=len(cosines),
        float_loss=float(np.mean(losses[0])),
        integer_loss=float(np.mean(losses[1])),
        cosine=float(np.mean(cosines)),
        least_cosine=float(np.min(cosines)),
        agreement=same / len(cosines),
    )


def _losses(logits: Floats, following: Tokens) -> list[float]:
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    total = np.log(np.exp(shifted).sum(axis=1))
    return list(total - shifted[np.arange(len(following)), following])
