"""Small transformers for the tests: one of pseudo-random integers, and float ones to be quantised."""

import numpy as np
from numpy.typing import NDArray

from pouw.arithmetic.generator import random_bytes
from pouw.arithmetic.tables import rotary_table, silu_table
from pouw.models.llama import LayerConstants, LlamaManifest, LlamaShape, weight_specs
from pouw.models.llama_float import FloatLlama
from pouw.program import Weight
from pouw.tensors import Array, DType, TensorSpec
from pouw.weights import Weights

SHAPE = LlamaShape(
    vocabulary=50, width=32, layers=2, heads=4, kv_heads=2, head_dim=8, hidden=48, positions=40
)


def noise(name: str, spec: TensorSpec) -> Array:
    """Pseudo-random values of the whole of a type."""
    data = random_bytes(name.encode(), path=(), count=spec.rows * spec.row_bytes)
    return np.frombuffer(data, spec.dtype.numpy).reshape(spec.rows, spec.cols).copy()


def _tensor(name: str, spec: TensorSpec, shape: LlamaShape) -> Array:
    if name == "embedding":
        return noise(name, spec) >> 2
    if name == "turns":
        return rotary_table(shape.positions, shape.head_dim, 10000)
    if name.endswith("scale"):
        return 5000 + noise(name, spec) % 256
    if "norm" in name:
        return 1024 + noise(name, spec) % 256
    return noise(name, spec)


def integer_llama(shape: LlamaShape = SHAPE) -> tuple[LlamaManifest, Weights]:
    """A model of pseudo-random integers: the same on every machine, its values spread over their types."""
    specs = weight_specs(shape)
    arrays = {name: _tensor(name, spec, shape).astype(spec.dtype.numpy) for name, spec in specs}
    weights = Weights(arrays)
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
    described = tuple(
        Weight(name, spec, weights.tree(name).root, int(arrays[name].min()), int(arrays[name].max()))
        for name, spec in specs
    )
    manifest = LlamaManifest(
        name="integers", shape=shape, epsilon=7, residual=DType.INT16, embedding_lift=0,
        layers=(constants,) * shape.layers, final_shift=21, logit_shift=14,
        logit_multiplier=1100, sample_shift=13, weights=described,
    )  # fmt: skip
    return manifest, weights


MANIFEST, WEIGHTS = integer_llama()


def float_llama(shape: LlamaShape, seed: int) -> FloatLlama:
    """A model of random weights, each matrix keeping the size of what it reads."""
    rng = np.random.default_rng(seed)
    weights = {}
    for name, spec in weight_specs(shape):
        if name.endswith("scale") or name == "turns":
            continue
        values = rng.standard_normal((spec.rows, spec.cols))
        if "norm" in name:
            values = 1 + 0.2 * values[0]
        elif name != "embedding":
            values /= np.sqrt(spec.cols)
        weights[name] = values.astype(np.float32)
    return FloatLlama(shape, 1e-5, 10000, weights)


def texts(count: int, length: int, *, vocabulary: int = SHAPE.vocabulary, seed: int = 0) -> NDArray[np.int8]:
    """Tokens, [count, length]."""
    words = random_bytes(b"text", path=(seed,), count=count * length)
    return (np.frombuffer(words, np.uint8) % vocabulary).astype(np.int8).reshape(count, length)


I8, I16, I32 = DType.INT8, DType.INT16, DType.INT32
