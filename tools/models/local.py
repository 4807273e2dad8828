"""Asking a model on this machine: the very programs that miners run, without a commit."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np

from pouw.backends.backend import Backend
from pouw.models.bert import BertManifest
from pouw.models.bert_program import Batch, bert_program
from pouw.models.decoder import generate
from pouw.models.llama import LlamaManifest
from pouw.models.token_sampling import Sampling
from pouw.trace import run_program
from tools.importer.errors import ImportReason, ModelImportError
from tools.models.artifact import LoadedModel


@dataclass(frozen=True, slots=True)
class Answer:
    """What a decoder wrote.

    Args:
        text: the answer, up to where the model ended it.
        tokens: of the answer, its end included.
        prompt: how many tokens the question has.
        ended: whether the model ended the answer.
    """

    text: str
    tokens: tuple[int, ...]
    prompt: int
    ended: bool


def answer(
    model: LoadedModel, text: str, *, count: int, sampling: Sampling | None, backend: Backend
) -> Answer:
    """Let a decoder go on after a text.

    Args:
        model: a decoder.
        text: what it reads.
        count: tokens to write, at most.
        sampling: of one sequence; None for the likeliest tokens.
        backend: where to run.

    Raises:
        ModelImportError: UNSUPPORTED of an encoder; SHAPE if there is nothing to read, or more than the model
            has positions.
    """
    manifest = model.artifact.manifest
    if not isinstance(manifest, LlamaManifest):
        raise ModelImportError(ImportReason.UNSUPPORTED, f"{manifest.name} is an encoder, it writes no text")
    prompt = model.codec.encode(text)
    room = manifest.shape.positions - len(prompt) + 1
    if len(prompt) == 0 or room < 1:
        raise ModelImportError(
            ImportReason.SHAPE,
            f"a text of {len(prompt)} tokens, allowed are 1..{manifest.shape.positions}",
        )
    written = generate(
        manifest, model.weights, prompt[None], min(count, room), backend, sampling=sampling
    ).tokens[0]
    tokens = [int(token) for token in written]
    ends = [place for place, token in enumerate(tokens) if token in model.artifact.ends]
    kept = tokens[: ends[0] + 1] if ends else tokens
    shown = kept[:-1] if ends else kept
    return Answer(model.codec.decode(shown), tuple(kept), len(prompt), bool(ends))


def embed(model: LoadedModel, texts: Sequence[str], backend: Backend) -> list[list[float]]:
    """Vectors of some texts, all in one batch.

    Args:
        model: an encoder.
        texts: at least one.
        backend: where to run.

    Returns:
        One vector each, of length 1.

    Raises:
        ModelImportError: UNSUPPORTED of a decoder; SHAPE if a text is empty or longer than the model's
            positions.
    """
    manifest = model.artifact.manifest
    if not isinstance(manifest, BertManifest):
        raise ModelImportError(ImportReason.UNSUPPORTED, f"{manifest.name} is a decoder, it gives no vectors")
    tokens = [model.codec.encode(text) for text in texts]
    lengths = tuple(map(len, tokens))
    if min(lengths) < 1 or max(lengths) > manifest.shape.positions:
        raise ModelImportError(
            ImportReason.SHAPE,
            f"texts of {min(lengths)} to {max(lengths)} tokens, allowed are 1..{manifest.shape.positions}",
        )
    batch = Batch(max(lengths), lengths)
    inputs = np.zeros((len(texts), batch.tokens), tokens[0].dtype)
    for row, mine in zip(inputs, tokens, strict=True):
        row[: len(mine)] = mine
    program = bert_program(manifest, batch)
    found = run_program(program, model.weights, inputs.reshape(-1, 1), backend).answer
    return [_unit(row.tolist()) for row in found]


def cosine(left: Sequence[float], right: Sequence[float]) -> float:
    """Of two vectors of length 1."""
    return sum(a * b for a, b in zip(left, right, strict=True))


def _unit(row: Sequence[int]) -> list[float]:
    length = sqrt(sum(value * value for value in row)) or 1.0
    return [value / length for value in row]
