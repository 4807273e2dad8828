"""The programs of encoders: a batch of texts, each padded to the same length, in; vectors out."""

from dataclasses import dataclass

from pouw.arithmetic.heads import Heads
from pouw.models.bert import STREAM_LIMIT, BertManifest, NormConstants, Pooling, layer_part
from pouw.ops.affine import Affine
from pouw.ops.attention_mix import AttentionMix
from pouw.ops.attention_weights import AttentionWeights
from pouw.ops.first_rows import FirstRows
from pouw.ops.gather import Gather
from pouw.ops.kind import OpKind
from pouw.ops.layer_norm import LayerNorm
from pouw.ops.mean_pool import MeanPool
from pouw.ops.positions import Positions
from pouw.ops.split_heads import SplitHeads
from pouw.ops.transpose import Transpose
from pouw.program import INPUT, Op, Program, build_program
from pouw.program_error import ProgramError, ProgramReason
from pouw.tensors import DType, TensorSpec, index_dtype


@dataclass(frozen=True, slots=True)
class Batch:
    """What a program reads: texts, each padded to the same length.

    Args:
        tokens: of each sequence, padding included.
        lengths: one per sequence: its own tokens, 1..tokens.
        firsts: tokens of each sequence's first segment; empty if all tokens are of the first.
    """

    tokens: int
    lengths: tuple[int, ...]
    firsts: tuple[int, ...] = ()


def bert_program(manifest: BertManifest, batch: Batch, *, pooling: Pooling | None = None) -> Program:
    """The program that reads a batch of texts.

    The input is [sequences * tokens, 1] of `index_dtype(vocabulary)`; what pads a text may be any token. The
    answer is as `Pooling` says, in units of `manifest.unit`, except a pooler's: its values are 127ths.

    Args:
        manifest: the model.
        batch: how many texts, of what lengths.
        pooling: None for the model's own.

    Raises:
        ProgramError: SHAPE, or RANGE if the model's constants allow a sum to leave its type.
    """
    shape = manifest.shape
    if not 1 <= batch.tokens <= shape.positions or not batch.lengths:
        raise ProgramError(
            ProgramReason.SHAPE,
            f"{len(batch.lengths)} texts of {batch.tokens} tokens, the model has {shape.positions} positions",
        )
    firsts = batch.firsts or (batch.tokens,) * len(batch.lengths)
    if len(firsts) != len(batch.lengths):
        raise ProgramError(
            ProgramReason.SHAPE, f"{len(firsts)} first segments in {len(batch.lengths)} sequences"
        )
    tokens = TensorSpec(len(batch.lengths) * batch.tokens, 1, index_dtype(shape.vocabulary))
    ops = _Ops(manifest, batch)
    ops.embed(firsts)
    for layer in range(shape.layers):
        ops.attend(layer)
        ops.feed(layer)
    ops.pool(manifest.pooling if pooling is None else pooling)
    return build_program(tokens, manifest.weights, ops.ops)


class _Ops:
    """Collects the ops of a program."""

    def __init__(self, manifest: BertManifest, batch: Batch) -> None:
        self.ops: list[Op] = []
        self._manifest = manifest
        self._batch = batch
        shape, sequences = manifest.shape, len(batch.lengths)
        self._heads = Heads(sequences, 0, batch.tokens, shape.heads, shape.heads, shape.head_dim)

    def add(self, name: str, kind: OpKind, *operands: str) -> None:
        self.ops.append(Op(name, kind, operands))

    def embed(self, firsts: tuple[int, ...]) -> None:
        """From the input to "x 0" and "a 0"."""
        manifest = self._manifest
        words = Gather(manifest.shape.vocabulary, 0, DType.INT32)
        self.add("word", words, INPUT, "words")
        places = Positions(self._batch.tokens, manifest.shape.positions, firsts)
        self.add("embedded", places, "word", "places")
        self._norms("x 0", "a 0", "embedded", "embedded", manifest.embedded, manifest.first_epsilon)

    def attend(self, layer: int) -> None:
        """From "x {layer}" and "a {layer}" to "y {layer}" and "b {layer}"."""
        constants, heads = self._manifest.layers[layer], self._heads
        q, k, v, o, *_ = constants.shifts
        self._affine(f"queries {layer}", Affine(q), layer, "q", f"a {layer}")
        self._affine(f"k {layer}", Affine(k), layer, "k", f"a {layer}")
        self.add(f"keys {layer}", SplitHeads(heads), f"k {layer}")
        matrix = layer_part(layer, "v")
        values = Affine(v, by_row=True)
        self.add(f"values {layer}", values, matrix, f"a {layer}", f"{matrix} scale", f"{matrix} bias")
        weights = AttentionWeights(
            heads, constants.score_multiplier, constants.score_shift, self._batch.lengths
        )
        self.add(f"weights {layer}", weights, f"queries {layer}", f"keys {layer}")
        mix = AttentionMix(heads, constants.mix_gain)
        self.add(f"mix {layer}", mix, f"weights {layer}", f"values {layer}")
        self._onto(f"y sum {layer}", o, layer, "o", f"mix {layer}", f"x {layer}")
        norm = layer_part(layer, "attended")
        self._norms(f"y {layer}", f"b {layer}", f"y sum {layer}", norm, constants.attended)

    def feed(self, layer: int) -> None:
        """From "y {layer}" and "b {layer}" to "x {layer + 1}" and "a {layer + 1}"."""
        constants, following = self._manifest.layers[layer], layer + 1
        *_, up, down = constants.shifts
        active = Affine(up, limit=(len(constants.table) >> 1) - 1, table=constants.table)
        self._affine(f"up {layer}", active, layer, "up", f"b {layer}")
        self._onto(f"x sum {following}", down, layer, "down", f"up {layer}", f"y {layer}")
        norm, total = layer_part(layer, "fed"), f"x sum {following}"
        self._norm(f"x {following}", total, norm, constants.fed)
        if following < self._manifest.shape.layers:
            self._narrow(f"a {following}", total, norm, constants.fed)

    def pool(self, pooling: Pooling) -> None:
        """From the last layer to the answer."""
        manifest, batch = self._manifest, self._batch
        sequences, last = len(batch.lengths), f"x {manifest.shape.layers}"
        if pooling is Pooling.MEAN:
            self.add("across", Transpose(), last)
            self.add("means", MeanPool(batch.tokens, batch.lengths), "across")
            self.add("mean", Transpose(), "means")
        elif pooling is Pooling.FIRST:
            self.add("first", FirstRows(sequences, batch.tokens), last)
        elif pooling is Pooling.POOLER:
            if manifest.pooler is None:
                raise ProgramError(ProgramReason.SHAPE, f"{manifest.name} has no pooler")
            total = f"x sum {manifest.shape.layers}"
            self.add("first sum", FirstRows(sequences, batch.tokens), total)
            norm = layer_part(manifest.shape.layers - 1, "fed")
            self._narrow("first", "first sum", norm, manifest.layers[-1].fed)
            table = manifest.pooler.table
            pooled = Affine(manifest.pooler.shift, limit=(len(table) >> 1) - 1, table=table)
            self.add("pooled", pooled, "first", "pooler", "pooler scale", "pooler bias")

    def _norms(
        self, wide: str, narrow: str, source: str, norm: str, constants: NormConstants, epsilon: int = 0
    ) -> None:
        self._norm(wide, source, norm, constants, epsilon)
        self._narrow(narrow, source, norm, constants, epsilon)

    def _norm(self, name: str, source: str, norm: str, constants: NormConstants, epsilon: int = 0) -> None:
        dtype = self._manifest.residual
        kind = LayerNorm(
            epsilon or self._manifest.epsilon, constants.stream_shift, constants.stream_lift,
            STREAM_LIMIT[dtype] >> 1, dtype,
        )  # fmt: skip
        self.add(name, kind, source, f"{norm} gain", f"{norm} bias")

    def _narrow(self, name: str, source: str, norm: str, constants: NormConstants, epsilon: int = 0) -> None:
        kind = LayerNorm(epsilon or self._manifest.epsilon, constants.narrow_shift, constants.narrow_lift)
        self.add(name, kind, source, f"{norm} narrow gain", f"{norm} narrow bias")

    def _affine(self, name: str, kind: Affine, layer: int, part: str, source: str) -> None:
        matrix = layer_part(layer, part)
        self.add(name, kind, source, matrix, f"{matrix} scale", f"{matrix} bias")

    def _onto(self, name: str, shift: int, layer: int, part: str, source: str, residual: str) -> None:
        matrix = layer_part(layer, part)
        dtype = self._manifest.residual
        kind = Affine(shift, STREAM_LIMIT[dtype], dtype, residual=True)
        self.add(name, kind, source, matrix, f"{matrix} scale", f"{matrix} bias", residual)
