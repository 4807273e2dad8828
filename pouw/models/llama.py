"""Decoder-only transformers of the Llama family: the manifest that names a model, and its programs.

One builder gives every program: a prefill is a span of tokens with nothing before it, a decoding step is a
span of one token with a cache before it. All scales are constants of the model or belong to a row, so any
way of cutting a text into spans, and any batch, gives the same bits.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from pouw.arithmetic.heads import Heads
from pouw.hashing import domain, framed, i64, keyed, u32
from pouw.models.token_sampling import Sampling
from pouw.ops.append import Append
from pouw.ops.argmax import Argmax
from pouw.ops.attention_mix import AttentionMix
from pouw.ops.attention_weights import AttentionWeights
from pouw.ops.gate import Gate
from pouw.ops.gather import Gather
from pouw.ops.kind import OpKind
from pouw.ops.last_rows import LastRows
from pouw.ops.linear import Linear
from pouw.ops.rotary import Rotary
from pouw.ops.row_norm import RowNorm
from pouw.ops.sample import Sample
from pouw.program import INPUT, Op, Program, Weight, build_program, require_weights
from pouw.program_error import ProgramError, ProgramReason
from pouw.tensors import DType, TensorSpec, index_dtype

_MANIFEST: Final = domain("llama manifest")

MAX_LAYERS: Final = 256

MAX_SPAN: Final = 1 << 17
"""Most positions of a model: what one dot product over attention weights can add up."""

OPENED_KEYS: Final = 1 << 16
"""Bytes of a head's keys up to which attention weights are computed again by whoever checks a mixed value,
which opens all keys that the weights look at. Where there are more, weights are committed, and fewer checks
look at keys."""

COMMITTED_WIDTH: Final = 256
"""Width up to which every product is committed: queries and keys before they are turned, the gate's branches.
That makes proofs a tenth smaller, and checks quicker. In wider models, the time to hash counts for more."""

WIDE_RESIDUAL: Final = (1 << 23) - 1
"""A residual stream in int32 lies within 24 bits, so that 32,768 squares add up to 2^61 at most."""

TURN: Final = "turns"
"""The name of the rotary table among a model's weights."""

CHOICE: Final = "choice"
"""The name of the answer: one token per row that was asked for."""


@dataclass(frozen=True, slots=True)
class LlamaShape:
    """The sizes of a model.

    Args:
        vocabulary: tokens.
        width: values of the residual stream.
        layers: decoder layers.
        heads: of the queries.
        kv_heads: of keys and values.
        head_dim: values of a head, even.
        hidden: values inside the feed-forward part.
        positions: rows of the rotary table: the longest text.
    """

    vocabulary: int
    width: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    hidden: int
    positions: int

    def encode(self) -> bytes:
        """The numbers, unambiguous."""
        numbers = (
            self.vocabulary, self.width, self.layers, self.heads,
            self.kv_heads, self.head_dim, self.hidden, self.positions,
        )  # fmt: skip
        return b"".join(map(u32, numbers))


@dataclass(frozen=True, slots=True)
class LayerConstants:
    """The numbers of one layer that are not weights; each name is explained by the op that takes it.

    Args:
        norm_shift: of both norms.
        shifts: of the linear ops q, k, v, o, gate, up, down, in this order.
        turn_shifts: of the rotary ops of queries and keys.
        score_multiplier: of `AttentionWeights`.
        score_shift: of `AttentionWeights`.
        mix_gain: of `AttentionMix`.
        gate_table: of `Gate`.
        gate_shift: of `Gate`.
    """

    norm_shift: int
    shifts: tuple[int, int, int, int, int, int, int]
    turn_shifts: tuple[int, int]
    score_multiplier: int
    score_shift: int
    mix_gain: int
    gate_table: bytes
    gate_shift: int

    def encode(self) -> bytes:
        """The numbers, unambiguous."""
        numbers = (self.norm_shift, *self.shifts, *self.turn_shifts, self.score_multiplier)
        more = (self.score_shift, self.mix_gain, self.gate_shift)
        return framed(b"".join(map(u32, (*numbers, *more))), self.gate_table)


@dataclass(frozen=True)
class LlamaManifest:
    """All that a verifier needs of a model: no weights, only their shapes, roots and intervals.

    Args:
        name: for people.
        shape: the sizes.
        epsilon: of every norm; see `RowNorm`.
        residual: type of the residual stream: INT16, or INT32 for models with outliers far beyond the rest.
        embedding_lift: see `Gather`.
        layers: first to last.
        final_shift: of the last norm.
        logit_shift: of the last linear op.
        logit_multiplier: of a difference of logits, at temperature 1, for `Sample`.
        sample_shift: of that product.
        weights: every tensor, as `weight_specs` lists them.

    Raises:
        ProgramError: EMPTY, SHAPE, WEIGHT.
    """

    name: str
    shape: LlamaShape
    epsilon: int
    residual: DType
    embedding_lift: int
    layers: tuple[LayerConstants, ...]
    final_shift: int
    logit_shift: int
    logit_multiplier: int
    sample_shift: int
    weights: tuple[Weight, ...]

    def __post_init__(self) -> None:
        if not 1 <= len(self.layers) <= MAX_LAYERS or len(self.layers) != self.shape.layers:
            raise ProgramError(
                ProgramReason.EMPTY, f"{len(self.layers)} layers of {self.shape.layers}, at most {MAX_LAYERS}"
            )
        if not 1 <= self.shape.positions <= MAX_SPAN:
            raise ProgramError(
                ProgramReason.SHAPE, f"{self.shape.positions} positions, allowed are 1..{MAX_SPAN}"
            )
        if self.residual not in (DType.INT16, DType.INT32):
            raise ProgramError(ProgramReason.DTYPE, f"a residual stream of {self.residual.name}")
        require_weights(self.weights, weight_specs(self.shape))

    @cached_property
    def digest(self) -> bytes:
        """32 bytes that bind the name, the shapes, the constants, the intervals and the roots."""
        numbers = (self.epsilon, self.residual, self.embedding_lift, self.final_shift, self.logit_shift)
        more = (self.logit_multiplier, self.sample_shift)
        weights = (
            framed(weight.name.encode(), weight.root, i64(weight.low) + i64(weight.high))
            for weight in self.weights
        )
        layers = framed(*(layer.encode() for layer in self.layers))
        constants = b"".join(map(i64, (*numbers, *more)))
        return keyed(
            _MANIFEST, framed(self.name.encode(), self.shape.encode(), constants, layers, framed(*weights))
        )


def layer_weight(layer: int, part: str) -> str:
    """The name of a layer's tensor: q, k, v, o, gate, up, down, each also with " scale"; norm 1, norm 2."""
    return f"layer {layer} {part}"


def weight_specs(shape: LlamaShape) -> list[tuple[str, TensorSpec]]:
    """Names and shapes of all tensors of a model, in their order."""
    queries, keys = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    linears = {
        "q": (queries, shape.width), "k": (keys, shape.width), "v": (keys, shape.width),
        "o": (shape.width, queries), "gate": (shape.hidden, shape.width),
        "up": (shape.hidden, shape.width), "down": (shape.width, shape.hidden),
    }  # fmt: skip
    gain = TensorSpec(1, shape.width, DType.INT16)
    specs = [
        ("embedding", TensorSpec(shape.vocabulary, shape.width, DType.INT16)),
        (TURN, TensorSpec(shape.positions, shape.head_dim, DType.INT16)),
    ]
    for layer in range(shape.layers):
        specs += [(layer_weight(layer, norm), gain) for norm in ("norm 1", "norm 2")]
        for part, (rows, cols) in linears.items():
            specs.append((layer_weight(layer, part), TensorSpec(rows, cols, DType.INT8)))
            specs.append((layer_weight(layer, f"{part} scale"), TensorSpec(rows, 1, DType.INT32)))
    specs.append(("final norm", gain))
    specs.append(("head", TensorSpec(shape.vocabulary, shape.width, DType.INT8)))
    specs.append(("head scale", TensorSpec(shape.vocabulary, 1, DType.INT32)))
    return specs


@dataclass(frozen=True, slots=True)
class Span:
    """What a program computes.

    Args:
        sequences: independent ones, of equal length.
        past: tokens of each that are in the cache.
        tokens: new tokens of each.
        wanted: how many of the last new ones choose a successor, at least 1.
    """

    sequences: int
    past: int
    tokens: int
    wanted: int


def cache_names(layers: int) -> list[str]:
    """The tensors of a run that a later step takes as its cache: keys and values of every layer."""
    return [f"{kind} {layer}" for layer in range(layers) for kind in ("keys", "values")]


def llama_program(
    manifest: LlamaManifest,
    span: Span,
    *,
    sampling: Sampling | None = None,
    cache: Sequence[Weight] = (),
    keep: bool = False,
    whole: bool = False,
) -> Program:
    """The program that reads a span of tokens and chooses successors.

    The input is [sequences * tokens, 1] of `index_dtype(vocabulary)`; the answer [sequences * wanted, 1] of
    the same.

    Args:
        manifest: the model.
        span: how much of what.
        sampling: None chooses the greatest logit.
        cache: weights called "cached " and a name of `cache_names`, if there is a past.
        keep: commit keys and values as weights, so that a later program can name them as its cache.
        whole: commit to the output of every op: for training, which reads them again on its way back, and for
            whoever wants to see them.

    Raises:
        ProgramError: SHAPE, or RANGE if the model's constants allow a sum to leave its type.
    """
    shape = manifest.shape
    if span.past + span.tokens > shape.positions:
        raise ProgramError(
            ProgramReason.SHAPE,
            f"{span.past + span.tokens} tokens, the model has {shape.positions} positions",
        )
    if sampling is not None and len(sampling.seeds) != span.sequences:
        raise ProgramError(ProgramReason.SHAPE, f"{len(sampling.seeds)} seeds for {span.sequences} sequences")
    tokens = TensorSpec(span.sequences * span.tokens, 1, index_dtype(shape.vocabulary))
    ops = _Ops(manifest, span, whole=whole)
    words = Gather(shape.vocabulary, manifest.embedding_lift, manifest.residual)
    ops.add("x 0", words, INPUT, "embedding", inline=True)
    for layer in range(shape.layers):
        ops.attend(layer)
        ops.feed(layer)
    ops.choose(sampling)
    kept = cache_names(shape.layers) if keep else ()
    return build_program(tokens, (*manifest.weights, *cache), ops.ops, kept=kept)


class _Ops:
    """Collects the ops of a program.

    Inline is whatever a check can compute again from a row or two of what the op reads.
    """

    def __init__(self, manifest: LlamaManifest, span: Span, *, whole: bool) -> None:
        self.ops: list[Op] = []
        self._whole = whole
        self._manifest = manifest
        self._span = span
        shape = manifest.shape
        self._heads = Heads(
            span.sequences, span.past, span.tokens, shape.heads, shape.kv_heads, shape.head_dim
        )

    def add(self, name: str, kind: OpKind, *operands: str, inline: bool = False) -> None:
        self.ops.append(Op(name, kind, operands, inline and not self._whole))

    def attend(self, layer: int) -> None:
        """From "x {layer}" to "y {layer}"."""
        constants, heads = self._manifest.layers[layer], self._heads
        keys = Heads(heads.sequences, heads.past, heads.tokens, heads.keys, heads.keys, heads.dim)
        self._norm(f"a {layer}", constants.norm_shift, f"x {layer}", layer_weight(layer, "norm 1"))
        wide = {"limit": DType.INT16.high, "dtype": DType.INT16}
        q, k, v, o, *_ = constants.shifts
        self._linear(f"q {layer}", Linear(q, **wide), layer, "q", f"a {layer}")  # type: ignore[arg-type]
        self._linear(f"k {layer}", Linear(k, **wide), layer, "k", f"a {layer}")  # type: ignore[arg-type]
        self.add(f"queries {layer}", Rotary(heads, constants.turn_shifts[0]), f"q {layer}", TURN)
        blocks = heads.sequences * heads.keys
        self._with_past(
            f"keys {layer}",
            Rotary(keys, constants.turn_shifts[1], by_head=True),
            (f"k {layer}", TURN),
            blocks=blocks,
        )
        matrix = layer_weight(layer, "v")
        transposed = (matrix, f"a {layer}", f"{matrix} scale")
        self._with_past(
            f"values {layer}", Linear(v, by_row=True), transposed, blocks=heads.sequences, by_col=True
        )
        weights = AttentionWeights(heads, constants.score_multiplier, constants.score_shift)
        few = heads.span * heads.dim <= OPENED_KEYS
        self.add(f"weights {layer}", weights, f"queries {layer}", f"keys {layer}", inline=few)
        self.add(
            f"mix {layer}", AttentionMix(heads, constants.mix_gain), f"weights {layer}", f"values {layer}"
        )
        self._onto(f"y {layer}", o, layer, "o", f"mix {layer}", f"x {layer}")

    def feed(self, layer: int) -> None:
        """From "y {layer}" to "x {layer + 1}"."""
        constants = self._manifest.layers[layer]
        *_, gate, up, down = constants.shifts
        self._norm(f"b {layer}", constants.norm_shift, f"y {layer}", layer_weight(layer, "norm 2"))
        self._linear(f"gate {layer}", Linear(gate), layer, "gate", f"b {layer}")
        self._linear(f"up {layer}", Linear(up), layer, "up", f"b {layer}")
        gated = Gate(constants.gate_table, constants.gate_shift)
        self.add(f"gated {layer}", gated, f"gate {layer}", f"up {layer}")
        self._onto(f"x {layer + 1}", down, layer, "down", f"gated {layer}", f"y {layer}")

    def choose(self, sampling: Sampling | None) -> None:
        """From the last residual to the answer."""
        manifest, span = self._manifest, self._span
        last = LastRows(span.sequences, span.tokens, span.wanted)
        self.add("last", last, f"x {manifest.shape.layers}", inline=True)
        self._norm("final", manifest.final_shift, "last", "final norm")
        logits = Linear(manifest.logit_shift, limit=DType.INT16.high, dtype=DType.INT16)
        self.add("logits", logits, "final", "head", "head scale")
        self.add(CHOICE, Argmax() if sampling is None else self._sample(sampling), "logits")

    def _sample(self, sampling: Sampling) -> Sample:
        manifest, span = self._manifest, self._span
        multiplier = sampling.multiplier(manifest.logit_multiplier)
        first = span.past + span.tokens - span.wanted
        return Sample(
            multiplier, manifest.sample_shift, sampling.seeds, span.wanted, first,
            min(sampling.top_k, manifest.shape.vocabulary), sampling.top_p,
        )  # fmt: skip

    def _norm(self, name: str, shift: int, source: str, gain: str) -> None:
        self.add(name, RowNorm(self._manifest.epsilon, shift), source, gain, inline=True)

    def _linear(self, name: str, kind: Linear, layer: int, part: str, source: str) -> None:
        matrix = layer_weight(layer, part)
        wide = self._manifest.shape.width > COMMITTED_WIDTH
        self.add(name, kind, source, matrix, f"{matrix} scale", inline=wide)

    def _onto(self, name: str, shift: int, layer: int, part: str, source: str, residual: str) -> None:
        matrix = layer_weight(layer, part)
        dtype = self._manifest.residual
        kind = Linear(shift, limit=min(WIDE_RESIDUAL, dtype.high), dtype=dtype, residual=True)
        self.add(name, kind, source, matrix, f"{matrix} scale", residual)

    def _with_past(
        self, name: str, kind: OpKind, operands: tuple[str, ...], *, blocks: int, by_col: bool = False
    ) -> None:
        """A tensor of the span alone, or appended to what is cached of it."""
        span = self._span
        if not span.past:
            self.add(name, kind, *operands)
            return
        self.add(f"new {name}", kind, *operands)
        append = Append(blocks, span.past, span.tokens, by_col=by_col)
        self.add(name, append, f"cached {name}", f"new {name}")
