"""Small encoders for the tests: one of pseudo-random integers, and float ones to be quantised."""

import numpy as np

from pouw.models.bert import (
    BertLayer,
    BertManifest,
    BertShape,
    NormConstants,
    PoolerConstants,
    Pooling,
    weight_specs,
)
from pouw.models.bert_float import FloatBert
from pouw.models.bert_program import Batch
from pouw.program import Weight
from pouw.tensors import Array, DType, TensorSpec, index_dtype
from pouw.weights import Weights
from tests.pouw.llama_world import noise, texts

SHAPE = BertShape(
    vocabulary=50, width=32, layers=2, heads=4, hidden=48, positions=24, segments=2, pooler=True
)


def _tensor(name: str, spec: TensorSpec) -> Array:
    if name in ("words", "places"):
        return noise(name, spec) >> 1
    if name.endswith("scale"):
        return 5000 + noise(name, spec) % 256
    if name.endswith("gain"):
        return 1024 + noise(name, spec) % 256 if "narrow" in name else (64 << 10) + noise(name, spec) % 4096
    if name.endswith("bias"):
        return noise(name, spec) % 4096 - 2048
    return noise(name, spec)


def integer_bert(shape: BertShape = SHAPE) -> tuple[BertManifest, Weights]:
    """A model of pseudo-random integers: the same on every machine, its values spread over their types."""
    specs = weight_specs(shape)
    arrays = {name: _tensor(name, spec).astype(spec.dtype.numpy) for name, spec in specs}
    weights = Weights(arrays)
    norm = NormConstants(stream_shift=20, stream_lift=8, narrow_shift=21, narrow_lift=14)
    table = np.clip(np.arange(-512, 512) // 4, -20, 127).astype(np.int8).tobytes()
    layer = BertLayer(
        shifts=(21, 21, 21, 13, 18, 13), score_multiplier=2900, score_shift=15, mix_gain=400,
        table=table, attended=norm, fed=norm,
    )  # fmt: skip
    described = tuple(
        Weight(name, spec, weights.tree(name).root, int(arrays[name].min()), int(arrays[name].max()))
        for name, spec in specs
    )
    manifest = BertManifest(
        name="integers", shape=shape, pooling=Pooling.MEAN, epsilon=7, first_epsilon=9,
        residual=DType.INT16, embedded=norm, layers=(layer,) * shape.layers,
        pooler=PoolerConstants(18, table) if shape.pooler else None, unit=1 << 30, weights=described,
    )  # fmt: skip
    return manifest, weights


MANIFEST, WEIGHTS = integer_bert()


def float_bert(shape: BertShape, seed: int, activation: str = "gelu") -> FloatBert:
    """A model of random weights with outliers like those of trained ones: a few channels lead every norm."""
    rng = np.random.default_rng(seed)
    weights = {}
    for name, spec in weight_specs(shape):
        if name.endswith("scale") or "narrow" in name:
            continue
        if spec.rows == 1:
            name, kind = name.rsplit(" ", 1)
            row = rng.standard_normal(shape.width) * 0.2
            weights[name if kind == "gain" else f"{name} bias"] = row + (kind == "gain")
        elif name.endswith("bias"):
            weights[name] = rng.standard_normal(spec.rows) * 0.2
        elif name in ("words", "places"):
            weights[name] = rng.standard_normal((spec.rows, spec.cols)) * (1.0 if name == "words" else 0.3)
        else:
            weights[name] = rng.standard_normal((spec.rows, spec.cols)) / np.sqrt(spec.cols)
    for layer in range(shape.layers):
        for norm in ("attended", "fed"):
            weights[f"layer {layer} {norm} bias"][[3, 17]] += (12, -9)
            weights[f"layer {layer} {norm}"][11] *= 8
        weights[f"layer {layer} q"] *= 0.7
    return FloatBert(shape, 1e-12, activation, {k: np.asarray(v, np.float32) for k, v in weights.items()})


def padded(batch: Batch, words: list[Array], vocabulary: int = SHAPE.vocabulary, pad: int = 0) -> Array:
    """The input of a batch's program."""
    out = np.full((len(words), batch.tokens), pad, index_dtype(vocabulary).numpy)
    for row, text in zip(out, words, strict=True):
        row[: len(text)] = text
    return out.reshape(-1, 1)


def sentences(lengths: tuple[int, ...], *, vocabulary: int = SHAPE.vocabulary, seed: int = 0) -> list[Array]:
    """Texts of these lengths."""
    return [texts(1, n, vocabulary=vocabulary, seed=seed + i)[0] for i, n in enumerate(lengths)]
