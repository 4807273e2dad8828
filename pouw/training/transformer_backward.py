"""From the input of a training step to a gradient for every matrix: the ops of forward, loss and backward.

Forward is the program that answers (`pouw.models.llama`), op for op, so what is trained is what is asked.
Backward names the error of a tensor "error" and its name, in the order of `matrices`, last first:

    logits ─ head ─ final norm ─┬─ down ─ gate, up ─ norm 2 ─┬─ o ─ shares, scores ─ q, k, v ─ norm 1 ─┬─ …
                                └──────── residual ──────────┴─────────────────────────────────────────┘
"""

from collections.abc import Iterable
from functools import cache
from math import isqrt
from typing import Final

from pouw.arithmetic.heads import Heads
from pouw.arithmetic.transformer_rows import NORM_BITS
from pouw.arithmetic.transformer_training_rows import GUARD, SHARE
from pouw.models.llama import TURN, Span, layer_weight, llama_program, weight_specs
from pouw.ops.attention_errors import AttentionErrors
from pouw.ops.attention_shares import AttentionShares
from pouw.ops.embedding_gradient import EmbeddingGradient
from pouw.ops.gate_gradient import GateGradient
from pouw.ops.heads_product import HeadsProduct
from pouw.ops.heads_turned import HeadsTurned, ScoresTurned
from pouw.ops.kind import OpKind
from pouw.ops.next_token import TokenGradient, TokenLoss
from pouw.ops.norm_gradient import NormGradient
from pouw.ops.part_products import PartProducts
from pouw.ops.part_sums import PartSums
from pouw.ops.rotary_gradient import RotaryGradient
from pouw.ops.transpose import Transpose
from pouw.ops.wide_linear import Chance, WideLinear
from pouw.program import INPUT, Op, Weight
from pouw.tensors import DType
from pouw.training.transformer_training import (
    EMBEDDED,
    ERROR,
    GATE_UNITS,
    GATED,
    GRADIENT,
    GRADIENT_LIMIT,
    HEAD,
    NORMED,
    RESIDUAL,
    SCORE_ERROR,
    SLOPE_UNITS,
    VALUE,
    WEIGHT,
    TransformerTraining,
    epsilon,
    gate_table,
    gradient_name,
    manifest_of,
    slope_table,
)

LOSS: Final = "loss"
"""The name of the cross-entropy of every token of a shard, in nats at scale 16, before the step."""

NORMED_ERROR_LIMIT: Final = (1 << 17) - 1
"""Errors of what a norm gave, sums of three, lie within 18 bits."""

STRETCH: Final = 128
"""Fewest tokens of which a gradient's products are summed together, where a shard has several times as many.
More make a cell open longer rows, fewer leave more sums to commit to. There are as many of those as the model
is wide, squared, and so it is with the tokens: twice the width, four times the stretch, up to
LONGEST_STRETCH."""

LONGEST_STRETCH: Final = 512
"""Sums of so many products of errors fit int32."""

FACTOR_BITS: Final = 15
"""1 / sqrt(dim) is held in 2^-15."""


def stretch_of(width: int) -> int:
    """Tokens of which the products of a gradient are summed together, in a model so wide."""
    stretch = STRETCH
    while stretch < min(width * width // STRETCH, LONGEST_STRETCH):
        stretch *= 2
    return stretch


def error_name(name: str) -> str:
    """The name of the loss's gradient by a tensor of the forward pass."""
    return f"error {name}"


def gradient_ops(training: TransformerTraining, seed: bytes) -> tuple[Op, ...]:
    """The ops of forward, loss and backward.

    Args:
        training: the run.
        seed: of rounding by chance, if the run does that.
    """
    return _ops(training, seed if training.chance else b"")


@cache
def forward_ops(training: TransformerTraining) -> tuple[Op, ...]:
    """The ops of a prefill of the shard, up to the logits of every token."""
    shape = training.shape
    unknown = {
        name: Weight(name, spec, bytes(32), -spec.dtype.high, spec.dtype.high)
        if spec.dtype is not DType.INT32
        else Weight(name, spec, bytes(32), 0, 1 << 8)
        for name, spec in weight_specs(shape)
    }
    unknown[TURN] = Weight(TURN, unknown[TURN].spec, bytes(32), -(1 << 14), 1 << 14)
    span = Span(training.sequences, 0, training.tokens, training.tokens)
    program = llama_program(manifest_of(shape, "", unknown), span, whole=True)
    return tuple(step.op for step in program.steps[:-1])


def loss_op(training: TransformerTraining) -> Op:
    """The loss of every token, from the logits of `forward_ops`."""
    return Op(LOSS, TokenLoss(training.tokens), ("logits", INPUT))


@cache
def _ops(training: TransformerTraining, seed: bytes) -> tuple[Op, ...]:
    back = _Backward(training, seed)
    back.from_loss()
    for layer in reversed(range(training.shape.layers)):
        back.feed(layer)
        back.attend(layer)
    back.embed()
    return (*forward_ops(training), *back.ops)


class _Backward:
    """Collects the ops of a backward pass."""

    def __init__(self, training: TransformerTraining, seed: bytes) -> None:
        self.ops: list[Op] = []
        self._training = training
        self._seed = seed
        shape = training.shape
        self._heads = Heads(training.sequences, 0, training.tokens, shape.heads, shape.heads, shape.head_dim)
        self._cols = {name: spec.cols for name, spec in weight_specs(shape)}
        self._epsilon = epsilon(shape)

    def from_loss(self) -> None:
        """From the logits to the error of the last residual."""
        training, last = self._training, self._training.shape.layers
        self.ops.append(loss_op(training))
        logits = self._add(error_name("logits"), TokenGradient(training.tokens), "logits", INPUT)
        self._gradient(HEAD, logits, "final", shift=SHARE + NORMED - GRADIENT)
        final = self._handed_down("final", [(HEAD, logits)], shift=SHARE + WEIGHT - ERROR, wide=True)
        self._norm(f"x {last}", final, onto=None)

    def feed(self, layer: int) -> None:
        """From the error of "x {layer + 1}" to that of "y {layer}"."""
        gate, up, down = (layer_weight(layer, part) for part in ("gate", "up", "down"))
        above, normed = error_name(f"x {layer + 1}"), f"b {layer}"
        self._gradient(down, above, f"gated {layer}", shift=ERROR + GATED - GRADIENT)
        gated = self._handed_down(f"gated {layer}", [(down, above)])
        values = (f"gate {layer}", f"up {layer}")
        by_gate = GateGradient(slope_table(), SLOPE_UNITS + VALUE, times_up=True)
        gate_error = self._add(error_name(values[0]), by_gate, gated, *values)
        self._gradient(gate, gate_error, normed)
        by_up = GateGradient(gate_table(), GATE_UNITS, times_up=False)
        up_error = self._add(error_name(values[1]), by_up, gated, values[0])
        self._gradient(up, up_error, normed)
        errors = self._handed_down(normed, [(gate, gate_error), (up, up_error)], wide=True)
        self._norm(f"y {layer}", errors, onto=above)

    def attend(self, layer: int) -> None:
        """From the error of "y {layer}" to that of "x {layer}"."""
        q, k, v, o = (layer_weight(layer, part) for part in "qkvo")
        above, normed = error_name(f"y {layer}"), f"a {layer}"
        self._gradient(o, above, f"mix {layer}", shift=ERROR + VALUE - GRADIENT)
        mix = self._handed_down(f"mix {layer}", [(o, above)])
        q_error, k_error = self._scores(layer, mix)
        self._gradient(q, q_error, normed)
        self._gradient(k, k_error, normed)
        shares = self._add(f"shares {layer}", AttentionShares(self._heads), f"weights {layer}")
        of_values = HeadsProduct(self._heads, 1, SHARE)
        v_error = self._add(error_name(f"values {layer}"), of_values, shares, self._turned(mix))
        self._gradient(v, v_error, normed)
        errors = self._handed_down(normed, [(q, q_error), (k, k_error), (v, v_error)], wide=True)
        self._norm(f"x {layer}", errors, onto=above)

    def embed(self) -> None:
        """From the error of "x 0" to the gradient of the embedding."""
        training = self._training
        kind = EmbeddingGradient(training.shape.vocabulary, training.rows, GRADIENT_LIMIT)
        self._add(gradient_name(EMBEDDED), kind, INPUT, self._turned(error_name("x 0")))

    def _scores(self, layer: int, mix: str) -> tuple[str, str]:
        """Errors of q and k, before they were turned."""
        heads = self._heads
        values = self._add(f"values {layer} by head", HeadsTurned(heads), f"values {layer}")
        keys = self._add(f"keys {layer} turned", HeadsTurned(heads, to_channels=True), f"keys {layer}")
        kind = AttentionErrors(heads, ERROR + VALUE - SCORE_ERROR)
        scores = self._add(error_name(f"scores {layer}"), kind, f"weights {layer}", mix, values)
        turned = self._add(f"{scores} turned", ScoresTurned(heads), scores)
        factor = isqrt((1 << 2 * FACTOR_BITS) // heads.dim)
        product = HeadsProduct(heads, factor, FACTOR_BITS + SCORE_ERROR + VALUE - ERROR)
        found = []
        queries = self._turned(f"queries {layer}")
        for after, before, left, right in (("queries", "q", scores, keys), ("keys", "k", turned, queries)):
            error = self._add(error_name(f"{after} {layer}"), product, left, right)
            found.append(self._add(error_name(f"{before} {layer}"), RotaryGradient(heads), error, TURN))
        return found[0], found[1]

    def _add(self, name: str, kind: OpKind, *operands: str) -> str:
        self.ops.append(Op(name, kind, operands))
        return name

    def _turned(self, name: str) -> str:
        """A transpose, made where it is first asked for."""
        turned = f"{name} turned"
        known = {op.name for op in self.ops}
        return turned if turned in known else self._add(turned, Transpose(), name)

    def _chance(self, cols: int) -> Chance | None:
        return Chance(self._seed, len(self.ops), cols) if self._training.chance else None

    def _gradient(
        self, matrix: str, error: str, read: str, *, shift: int = ERROR + NORMED - GRADIENT
    ) -> None:
        """The gradient of a matrix: errors of what it gave, times what it read, over all tokens."""
        operands = self._turned(error), self._turned(read)
        stretch = stretch_of(self._training.shape.width)
        parts, rest = divmod(self._training.rows, stretch)
        if rest or parts == 1:
            whole = WideLinear(shift, GRADIENT_LIMIT, DType.INT32, chance=self._chance(self._cols[matrix]))
            self._add(gradient_name(matrix), whole, *operands)
            return
        products = self._add(f"{gradient_name(matrix)} in parts", PartProducts(stretch, parts), *operands)
        sums = PartSums(parts, shift, GRADIENT_LIMIT, self._chance(self._cols[matrix]))
        self._add(gradient_name(matrix), sums, products)

    def _handed_down(
        self, read: str, above: Iterable[tuple[str, str]], *, shift: int = WEIGHT, wide: bool = False
    ) -> str:
        """The error of what some matrices read: their errors through their transposes, one onto the other."""
        before: tuple[str, ...] = ()
        for matrix, error in above:
            operands = (error, self._turned(matrix), *before)
            name = f"{error_name(read)} by {matrix}"
            chance = self._chance(self._cols[matrix])
            kind = (
                WideLinear(shift, NORMED_ERROR_LIMIT, DType.INT32, onto=bool(before), chance=chance)
                if wide
                else WideLinear(shift, chance=chance)
            )
            before = (self._add(name, kind, *operands),)
        return before[0]

    def _norm(self, read: str, errors: str, *, onto: str | None) -> None:
        shift = NORM_BITS + GUARD - RESIDUAL
        kind = NormGradient(self._epsilon, shift, onto=onto is not None)
        self._add(error_name(read), kind, read, errors, *(() if onto is None else (onto,)))
