"""A decoder layer of pseudo-random integers: what is timed has no need to be clever."""

from typing import Final

import numpy as np

from pouw.arithmetic.tables import rotary_table, silu_table
from pouw.hashing import HASH_BYTES
from pouw.models.llama import (
    TURN,
    LayerConstants,
    LlamaManifest,
    LlamaShape,
    Span,
    llama_program,
    weight_specs,
)
from pouw.program import Program, Weight
from pouw.tensors import Array, DType, TensorSpec
from pouw.weights import Weights

_VOCABULARY: Final = 256
_BASE: Final = 10_000


def layer_shape(width: int, tokens: int) -> LlamaShape:
    """One layer with as many heads of keys as of queries, its feed-forward part 2.75 times as wide.

    Args:
        width: a multiple of 32.
        tokens: positions.
    """
    dim = 64 if width >= 512 and width % 64 == 0 else 32
    return LlamaShape(
        vocabulary=_VOCABULARY, width=width, layers=1, heads=width // dim, kv_heads=width // dim,
        head_dim=dim, hidden=width * 11 // 4, positions=tokens,
    )  # fmt: skip


def layer_program(shape: LlamaShape) -> tuple[Program, Weights]:
    """The program that reads as many tokens as there are positions, and a model for it."""
    arrays = {name: _tensor(name, spec, shape) for name, spec in weight_specs(shape)}
    # Nobody ever opens this model, so its rows need no hashes.
    described = tuple(
        Weight(name, spec, bytes(HASH_BYTES), int(arrays[name].min()), int(arrays[name].max()))
        for name, spec in weight_specs(shape)
    )
    constants = LayerConstants(
        norm_shift=21,
        shifts=(14, 14, 21, 13, 21, 21, 13),
        turn_shifts=(21, 21),
        score_multiplier=2900,
        score_shift=15,
        mix_gain=400,
        gate_table=silu_table(1, 16, 2048),
        gate_shift=12,
    )
    manifest = LlamaManifest(
        name="bench", shape=shape, epsilon=7, residual=DType.INT16, embedding_lift=0, layers=(constants,),
        final_shift=21, logit_shift=14, logit_multiplier=1100, sample_shift=13, weights=described,
    )  # fmt: skip
    return llama_program(manifest, Span(1, 0, shape.positions, 1)), Weights(arrays)


def layer_input(shape: LlamaShape) -> Array:
    """Tokens for the program."""
    tokens: Array = np.arange(shape.positions, dtype="<i2").reshape(-1, 1) % _VOCABULARY
    return tokens.astype("<i2")


def _tensor(name: str, spec: TensorSpec, shape: LlamaShape) -> Array:
    if name == TURN:
        return rotary_table(shape.positions, shape.head_dim, _BASE)
    # Quick and of the full range; what is timed does not depend on the values.
    words = np.random.Generator(np.random.PCG64(len(name))).integers(
        -128, 128, size=(spec.rows, spec.cols), dtype=np.int16
    )
    if name == "embedding":
        values = words * 60
    elif name.endswith("scale"):
        values = 5000 + words
    elif "norm" in name:
        values = 1024 + words
    else:
        values = words
    return values.astype(spec.dtype.numpy)
