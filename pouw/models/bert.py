"""Encoders of the BERT family: the manifest that names a model.

Layers end in their norms ("post-norm"). Every norm is applied twice to the same sum: once to 16 bits and
more, for the residual stream, and once to int8, with a scale of its own per channel, for the matrices that
read it. As with decoders all scales are constants of the model, so a text gives the same bits alone and
padded in any batch.
"""

from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from typing import Final

from pouw.hashing import domain, framed, i64, keyed, u32
from pouw.program import Weight, require_weights
from pouw.program_error import ProgramError, ProgramReason
from pouw.tensors import DType, TensorSpec

_MANIFEST: Final = domain("bert manifest")

MAX_LAYERS: Final = 256

MAX_POSITIONS: Final = 1 << 17

STREAM_LIMIT: Final = {DType.INT16: DType.INT16.high, DType.INT32: (1 << 23) - 1}
"""Bounds of the residual stream by its type: the squares of 8,192 differences of 24 bits add up to 2^61."""


class Pooling(IntEnum):
    """What an encoder answers; the numbers enter hashes and never change."""

    STATES = 1
    """The last state of every token, [sequences * tokens, width]."""
    MEAN = 2
    """The mean of each sequence's states, [sequences, width]."""
    FIRST = 3
    """The state of each sequence's first token, [sequences, width]."""
    POOLER = 4
    """That state through a matrix and tanh, int8 [sequences, width]."""


@dataclass(frozen=True, slots=True)
class BertShape:
    """The sizes of a model.

    Args:
        vocabulary: tokens.
        width: values of the residual stream.
        layers: encoder layers.
        heads: of attention; divides `width`.
        hidden: values inside the feed-forward part.
        positions: longest text.
        segments: 1, or 2 if the model tells a first text from a second.
        pooler: whether there is one.
    """

    vocabulary: int
    width: int
    layers: int
    heads: int
    hidden: int
    positions: int
    segments: int = 1
    pooler: bool = False

    @property
    def head_dim(self) -> int:
        """Values of a head."""
        return self.width // self.heads

    def encode(self) -> bytes:
        """The numbers, unambiguous."""
        sizes = (self.vocabulary, self.width, self.layers, self.heads, self.hidden)
        return b"".join(map(u32, (*sizes, self.positions, self.segments, self.pooler)))


@dataclass(frozen=True, slots=True)
class NormConstants:
    """See `LayerNorm`: of the norm that feeds the stream, and of the one that feeds the matrices."""

    stream_shift: int
    stream_lift: int
    narrow_shift: int
    narrow_lift: int

    def encode(self) -> bytes:
        """The numbers, unambiguous."""
        return b"".join(map(u32, (self.stream_shift, self.stream_lift, self.narrow_shift, self.narrow_lift)))


@dataclass(frozen=True, slots=True)
class BertLayer:
    """The numbers of one layer that are not weights; each name is explained by the op that takes it.

    Args:
        shifts: of the affine ops q, k, v, o, up, down, in this order.
        score_multiplier: of `AttentionWeights`.
        score_shift: of `AttentionWeights`.
        mix_gain: of `AttentionMix`.
        table: the activation of "up".
        attended: the norm after attention.
        fed: the norm at the layer's end.
    """

    shifts: tuple[int, int, int, int, int, int]
    score_multiplier: int
    score_shift: int
    mix_gain: int
    table: bytes
    attended: NormConstants
    fed: NormConstants

    def encode(self) -> bytes:
        """The numbers, unambiguous."""
        numbers = (*self.shifts, self.score_multiplier, self.score_shift, self.mix_gain)
        return framed(b"".join(map(u32, numbers)), self.table, self.attended.encode(), self.fed.encode())


@dataclass(frozen=True, slots=True)
class PoolerConstants:
    """See `Affine`: of the matrix that reads the first token's state."""

    shift: int
    table: bytes


@dataclass(frozen=True)
class BertManifest:
    """All that a verifier needs of a model: no weights, only their shapes, roots and intervals.

    Args:
        name: for people.
        shape: the sizes.
        pooling: what it answers unless a program asks for something else.
        epsilon: of every norm but the first; see `LayerNorm`.
        first_epsilon: of the norm of the embeddings, whose unit is another.
        residual: type of the residual stream: INT16, or INT32 for models with outliers far beyond the rest.
        embedded: the norm of the embeddings.
        layers: first to last.
        pooler: None without one.
        unit: what 1 of an answer from the residual stream stands for, as a numerator over 2^40: for people,
            and for whoever adds answers of different models.
        weights: every tensor, as `weight_specs` lists them.

    Raises:
        ProgramError: EMPTY, SHAPE, DTYPE, WEIGHT.
    """

    name: str
    shape: BertShape
    pooling: Pooling
    epsilon: int
    first_epsilon: int
    residual: DType
    embedded: NormConstants
    layers: tuple[BertLayer, ...]
    pooler: PoolerConstants | None
    unit: int
    weights: tuple[Weight, ...]

    def __post_init__(self) -> None:
        shape = self.shape
        if not 1 <= len(self.layers) <= MAX_LAYERS or len(self.layers) != shape.layers:
            raise ProgramError(
                ProgramReason.EMPTY, f"{len(self.layers)} layers of {shape.layers}, at most {MAX_LAYERS}"
            )
        sizes = (1 <= shape.positions <= MAX_POSITIONS, shape.heads >= 1, 1 <= shape.segments <= 2)
        if not all(sizes) or shape.width % shape.heads:
            raise ProgramError(ProgramReason.SHAPE, f"no encoder has the sizes {shape}")
        if shape.pooler != (self.pooler is not None) or (self.pooling == Pooling.POOLER > shape.pooler):
            raise ProgramError(
                ProgramReason.SHAPE, f"a pooler is {shape.pooler}, its constants {self.pooler}"
            )
        if self.residual not in STREAM_LIMIT:
            raise ProgramError(ProgramReason.DTYPE, f"a residual stream of {self.residual.name}")
        require_weights(self.weights, weight_specs(shape))

    @cached_property
    def digest(self) -> bytes:
        """32 bytes that bind the name, the shapes, the constants, the intervals and the roots."""
        numbers = (self.pooling, self.epsilon, self.first_epsilon, self.residual, self.unit)
        weights = (
            framed(weight.name.encode(), weight.root, i64(weight.low) + i64(weight.high))
            for weight in self.weights
        )
        pooler = b"" if self.pooler is None else framed(u32(self.pooler.shift), self.pooler.table)
        constants = framed(b"".join(map(i64, numbers)), self.embedded.encode(), pooler)
        layers = framed(*(layer.encode() for layer in self.layers))
        return keyed(
            _MANIFEST, framed(self.name.encode(), self.shape.encode(), constants, layers, framed(*weights))
        )


def layer_part(layer: int, part: str) -> str:
    """The name of a layer's tensor: q, k, v, o, up, down, each also with " scale" and " bias"; norms.

    The norms are "attended", "attended narrow", "fed" and "fed narrow", each with " gain" and " bias".
    """
    return f"layer {layer} {part}"


def weight_specs(shape: BertShape) -> list[tuple[str, TensorSpec]]:
    """Names and shapes of all tensors of a model, in their order."""
    width = shape.width
    linears = dict.fromkeys("qkvo", (width, width))
    linears |= {"up": (shape.hidden, width), "down": (width, shape.hidden)}
    specs = [
        ("words", TensorSpec(shape.vocabulary, width, DType.INT16)),
        ("places", TensorSpec(shape.segments * shape.positions, width, DType.INT16)),
        *_norm_specs("embedded", width),
    ]
    for layer in range(shape.layers):
        for part, (rows, cols) in linears.items():
            specs += _affine_specs(layer_part(layer, part), rows, cols)
        specs += _norm_specs(layer_part(layer, "attended"), width)
        specs += _norm_specs(layer_part(layer, "fed"), width)
    if shape.pooler:
        specs += _affine_specs("pooler", width, width)
    return specs


def _affine_specs(name: str, rows: int, cols: int) -> list[tuple[str, TensorSpec]]:
    channel = TensorSpec(rows, 1, DType.INT32)
    matrix = TensorSpec(rows, cols, DType.INT8)
    return [(name, matrix), (f"{name} scale", channel), (f"{name} bias", channel)]


def _norm_specs(name: str, width: int) -> list[tuple[str, TensorSpec]]:
    row = TensorSpec(1, width, DType.INT32)
    return [(f"{kind} {part}", row) for kind in (name, f"{name} narrow") for part in ("gain", "bias")]
