"""What the ops of a transformer's training refuse, and what no peer can make them do."""

from typing import Any

import numpy as np
import pytest

from pouw.arithmetic.heads import Heads
from pouw.arithmetic.transformer_training_rows import share_rows
from pouw.ops.attention_errors import AttentionErrors
from pouw.ops.attention_shares import AttentionShares
from pouw.ops.embedding_gradient import EmbeddingGradient
from pouw.ops.gate_gradient import GateGradient
from pouw.ops.heads_product import HeadsProduct
from pouw.ops.heads_turned import HeadsTurned, ScoresTurned
from pouw.ops.kind import Bounded, OpKind
from pouw.ops.lion import Lion, Momentum
from pouw.ops.narrowed import Narrowed
from pouw.ops.next_token import TokenGradient, TokenLoss
from pouw.ops.norm_gradient import NormGradient
from pouw.ops.part_products import PartProducts
from pouw.ops.part_sums import PartSums
from pouw.ops.rotary_gradient import RotaryGradient
from pouw.ops.wide_linear import Chance, WideLinear
from pouw.program_error import ProgramError, ProgramReason
from pouw.tensors import DType, TensorSpec
from tests.pouw.test_transformer_ops import B

I8, I16, I32 = DType.INT8, DType.INT16, DType.INT32


HEADS = Heads(1, 0, 3, 2, 2, 4)
LION = Lion(5, 27, 7, 5, 99)


@pytest.mark.parametrize(
    ("kind", "operands"),
    [
        (WideLinear(3, chance=Chance(b"", 0, 1), onto=True), [(I16, 5), (I8, 5), (I16, 1)]),
        (PartProducts(5, 2), [(I16, 5), (I8, 5)]),
        (PartSums(3, 3, 5, Chance(b"", 0, 1)), [(I32, 3)]),
        (NormGradient(1, 17), [(I32, 6), (I32, 6), (I16, 6)]),
        (RotaryGradient(HEADS), [(I16, 1), (I16, 1), (I16, 4)]),
        (AttentionShares(HEADS), [(I8, 3)]),
        (AttentionErrors(HEADS, 30), [(I8, 3), (I16, 4), (I8, 4), (I8, 4), (I8, 4)]),
        (HeadsProduct(HEADS, 1 << 20, 0), [(I16, 3), (I16, 3)]),
        (HeadsTurned(HEADS), [(I8, 1)]),
        (ScoresTurned(HEADS), [(I16, 1)]),
        (GateGradient(bytes(512), 0, times_up=True), [(I16, 9), (I8, 9), (I8, 9)]),
        (TokenGradient(4), [(I16, 9), (I16, 1)]),
        (TokenLoss(4), [(I16, 9), (I16, 1)]),
        (EmbeddingGradient(3, 2, 5), [(I16, 2), (I16, 1), (I16, 1)]),
        (Momentum(5, 9), [(I32, 3), (I32, 3)]),
        (LION, [(I32, 3), (I32, 3), (I32, 3)]),
        (Narrowed(3, 5, I8), [(I32, 3)]),
    ],
)
@pytest.mark.parametrize(
    "extreme", [lambda d: d.low, lambda d: d.high, lambda _: 0], ids=["low", "high", "0"]
)
def test_no_row_of_a_peer_makes_a_check_fail(kind: OpKind, operands: list[Any], extreme: Any) -> None:
    kind.check(2, 0, [np.full(size, extreme(dtype), dtype.numpy) for dtype, size in operands])


@pytest.mark.parametrize(
    ("kind", "operands", "reason"),
    [
        (PartProducts(3, 1), [(2, 3, I16), (4, 3, I8)], ProgramReason.RANGE),
        (PartProducts(2, 2), [(2, 3, I8), (4, 3, I8)], ProgramReason.SHAPE),
        (PartProducts(2, 2), [(2, 4, I32), (4, 4, I8)], ProgramReason.DTYPE),
        (PartProducts(1 << 17, 1), [(2, 1 << 17, I8), (4, 1 << 17, I8)], ProgramReason.RANGE),
        (PartSums(2, 0, 1), [(2, 3, I32)], ProgramReason.SHAPE),
        (PartSums(2, 25, 1, Chance(b"", 0, 2)), [(2, 4, I32)], ProgramReason.CONSTANT),
        (WideLinear(0), [(2, 3, I16), (4, 3, I8)], ProgramReason.CONSTANT),
        (WideLinear(0), [(2, 3, I8), (4, 3, I8)], ProgramReason.DTYPE),
        (WideLinear(25, chance=Chance(b"", 0, 4)), [(2, 3, I16), (4, 3, I8)], ProgramReason.CONSTANT),
        (WideLinear(0, dtype=I8), [(2, 3, I16), (4, 3, I8)], ProgramReason.DTYPE),
        (NormGradient(1, 3), [(2, 8, I32)] * 2 + [(2, 8, I16)], ProgramReason.RANGE),
        (NormGradient(1, 18), [(2, 8, I16), (2, 8, I32), (2, 8, I16)], ProgramReason.CONSTANT),
        (NormGradient(1, 9), [(2, 8, I16), (2, 8, I32), (2, 8, I16)], ProgramReason.RANGE),
        (NormGradient(1, 9), [(2, 8, I16), (2, 8, I16), (2, 8, I16)], ProgramReason.DTYPE),
        (RotaryGradient(HEADS), [(3, 8, I16), (2, 4, I16)], ProgramReason.SHAPE),
        (AttentionShares(Heads(1, 1, 3, 2, 2, 4)), [(6, 4, I8)], ProgramReason.SHAPE),
        (AttentionShares(Heads(1, 0, 3, 2, 1, 4)), [(6, 3, I8)], ProgramReason.SHAPE),
        (AttentionShares(HEADS), [(6, 3, I8)], ProgramReason.RANGE),
        (AttentionErrors(HEADS, 31), [(6, 3, I8), (3, 8, I16), (6, 4, I8)], ProgramReason.CONSTANT),
        (AttentionErrors(HEADS, 1), [(6, 3, I8), (3, 8, I16), (6, 5, I8)], ProgramReason.SHAPE),
        (HeadsProduct(HEADS, 0, 1), [(6, 3, I16), (8, 3, I8)], ProgramReason.CONSTANT),
        (HeadsProduct(HEADS, 1, 1), [(6, 3, I16), (3, 8, I8)], ProgramReason.SHAPE),
        (HeadsTurned(HEADS), [(6, 4, I8)], ProgramReason.SHAPE),
        (ScoresTurned(HEADS), [(6, 3, I32)], ProgramReason.DTYPE),
        (GateGradient(bytes(9), 1, False), [(6, 3, I16), (6, 3, I8)], ProgramReason.CONSTANT),
        (GateGradient(bytes(512), 1, True), [(6, 3, I16), (6, 3, I8)], ProgramReason.SHAPE),
        (TokenGradient(4), [(6, 3, I16), (6, 1, I8)], ProgramReason.SHAPE),
        (TokenLoss(1), [(6, 3, I16), (6, 1, I8)], ProgramReason.SHAPE),
        (EmbeddingGradient(3, 6, 5), [(6, 1, I16), (4, 5, I16)], ProgramReason.SHAPE),
        (Momentum(5, 9), [(6, 3, I32), (6, 3, I32)], ProgramReason.RANGE),
        (LION, [(6, 3, I32), (6, 3, I32), (6, 4, I32)], ProgramReason.SHAPE),
        (Narrowed(32, 5, I8), [(6, 3, I32)], ProgramReason.CONSTANT),
        (Narrowed(3, 5, I32), [(6, 3, I32)], ProgramReason.DTYPE),
    ],
)  # fmt: skip
def test_operands_that_do_not_fit(
    kind: OpKind, operands: list[tuple[int, int, DType]], reason: ProgramReason
) -> None:
    with pytest.raises(ProgramError) as caught:
        kind.infer([Bounded(TensorSpec(rows, cols, d), *B[d]) for rows, cols, d in operands])
    assert caught.value.reason is reason


@pytest.mark.parametrize(
    "make",
    [
        lambda: Momentum(0, 5), lambda: Momentum(5, 0), lambda: Lion(0, 27, 7, 5, 9),
        lambda: Lion(5, 63, 7, 5, 9), lambda: Lion(5, 27, 0, 5, 9), lambda: Lion(5, 27, 7, 17, 9),
    ],
)  # fmt: skip
def test_constants_that_are_refused(make: Any) -> None:
    with pytest.raises(ProgramError) as caught:
        make()
    assert caught.value.reason is ProgramReason.CONSTANT


def test_constants_enter_the_encoding() -> None:
    kinds: list[OpKind] = [
        WideLinear(0), WideLinear(1), WideLinear(0, 5), WideLinear(0, dtype=I32), WideLinear(0, onto=True),
        WideLinear(0, chance=Chance(b"", 0, 1)), WideLinear(0, chance=Chance(b"x", 0, 1)),
        WideLinear(0, chance=Chance(b"", 1, 1)), NormGradient(1, 0), NormGradient(2, 0), NormGradient(1, 1),
        NormGradient(1, 0, onto=False), RotaryGradient(HEADS), AttentionShares(HEADS), ScoresTurned(HEADS),
        AttentionErrors(HEADS, 1), AttentionErrors(HEADS, 2), HeadsProduct(HEADS, 1, 1),
        HeadsProduct(HEADS, 2, 1), HeadsProduct(HEADS, 1, 2), HeadsTurned(HEADS), HeadsTurned(HEADS, True),
        GateGradient(bytes(512), 1, True), GateGradient(bytes(512), 1, False), TokenGradient(3),
        TokenLoss(3), EmbeddingGradient(1, 1, 1), EmbeddingGradient(2, 1, 1), EmbeddingGradient(1, 2, 1),
        Momentum(1, 1), Momentum(2, 1), LION, Lion(6, 27, 7, 5, 99), Lion(5, 26, 7, 5, 99),
        Lion(5, 27, 6, 5, 99), Lion(5, 27, 7, 4, 99), Narrowed(1, 1, I8), Narrowed(1, 1, I16),
    ]  # fmt: skip
    assert len({kind.encode() for kind in kinds}) == len(kinds)
    share_rows(np.zeros((1, 3), np.int8))
