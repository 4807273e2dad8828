"""Each op kind: its cells against its run, its ranges against its values, and its float twin."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pouw.arithmetic.requant import Requant
from pouw.ops.argmax import Argmax
from pouw.ops.kind import Bounded, OpKind
from pouw.ops.matmul import MAX_DEPTH, MatmulNT
from pouw.program_error import ProgramError, ProgramReason
from pouw.tensors import Array, DType, TensorSpec
from tests.pouw.world import REFERENCE, int8s

I8, I32 = DType.INT8, DType.INT32


def bounded(array: Array) -> Bounded:
    dtype = next(dtype for dtype in DType if dtype.numpy == array.dtype)
    return Bounded(TensorSpec(*array.shape, dtype), int(array.min()), int(array.max()))


def every_cell_agrees(kind: OpKind, operands: list[Array]) -> None:
    """The output, cell by cell from the rows that each needs, and within the range that was inferred."""
    out = kind.run(REFERENCE, operands)
    inferred = kind.infer([bounded(operand) for operand in operands])
    assert inferred.spec.holds(out)
    assert inferred.low <= int(out.min()) <= int(out.max()) <= inferred.high
    for row in range(out.shape[0]):
        for col in range(out.shape[1]):
            rows = [part for need in kind.needs(row, col) for part in need.read(operands[need.operand])]
            expected = kind.check(row, col, rows)
            covered = slice(expected.start, expected.start + expected.values.size)
            assert col in range(out.shape[1])[covered]
            assert np.array_equal(out[row][covered], expected.values)


matmuls = st.builds(
    MatmulNT,
    requant=st.sampled_from(
        [None, Requant(1, 7), Requant(5, 9, low=0), Requant(1, 0, table=bytes(range(256)))]
    ),
    bias=st.booleans(),
)


@given(matmuls, st.integers(1, 5), st.integers(1, 80), st.integers(1, 5), st.integers(0, 99))
def test_matmul_cells(kind: MatmulNT, m: int, k: int, n: int, draw: int) -> None:
    operands: list[Any] = [int8s(f"a{draw}", m, k), int8s(f"b{draw}", n, k)]
    if kind.bias:
        operands.append(int8s(f"c{draw}", n, 1).astype(np.int32) * 100)
    every_cell_agrees(kind, operands)


@given(st.integers(1, 5), st.integers(1, 200), st.sampled_from(["<i1", "<i2", "<i4"]), st.integers(1, 9))
def test_argmax_cells(m: int, n: int, dtype: str, kinds: int) -> None:
    """Few kinds of values, so that ties are common; the first of them counts."""
    values = (int8s(f"argmax {kinds}", m, n) % kinds).astype(dtype)
    every_cell_agrees(Argmax(), [values])
    assert [row[0] for row in Argmax().run(REFERENCE, [values])] == [
        row.index(max(row)) for row in values.tolist()
    ]


def test_matmul_float_twin() -> None:
    """With numbers read as fixed point, the integer layer is the real one up to its last place."""
    a, b = int8s("twin a", 50, 300), int8s("twin b", 40, 300)
    bias = int8s("twin c", 40, 1).astype(np.int32) * 256
    requant = Requant(37, 18, low=0)
    got = MatmulNT(requant, bias=True).run(REFERENCE, [a, b, bias])
    # Scale 5 times scale 6 is scale 11 for sums and biases; the multiplier brings it to its own scale.
    real = np.maximum(a / 32 @ (b / 64).T + (bias / 2048).T, 0) * 2048 * 37 / 2**18
    assert np.abs(np.clip(real, 0, 127) - got).max() <= 0.5 + 1e-9
    assert np.std(got) > 5


def test_argmax_float_twin() -> None:
    values = int8s("twin d", 300, 31).astype(np.int32) * 1000 + np.arange(31, dtype=np.int32)
    got = Argmax().run(REFERENCE, [values])
    assert np.array_equal(got[:, 0], np.argmax(values / 4096.0, axis=1))


def test_costs_count_multiply_accumulates() -> None:
    assert MatmulNT().cost([TensorSpec(7, 30, I8), TensorSpec(5, 30, I8)]) == 150
    assert Argmax().cost([TensorSpec(7, 30, I32)]) == 30


FULL = (-128, 127)


@pytest.mark.parametrize(
    ("kind", "operands", "reason", "message"),
    [
        (MatmulNT(), [(2, 3, I8, *FULL)], ProgramReason.SHAPE, "of 1 operands, it takes 2"),
        (MatmulNT(), [(2, 3, I8, *FULL), (2, 4, I8, *FULL)], ProgramReason.SHAPE, "rows of 3 and 4"),
        (MatmulNT(), [(2, 3, I32, 0, 1), (2, 3, I8, *FULL)], ProgramReason.DTYPE, "INT32 and INT8"),
        (
            MatmulNT(),
            [(2, MAX_DEPTH + 1, I8, 0, 1), (2, MAX_DEPTH + 1, I8, 0, 1)],
            ProgramReason.RANGE,
            "of 131072",
        ),
        (
            MatmulNT(bias=True),
            [(2, 3, I8, *FULL), (4, 3, I8, *FULL), (3, 1, I32, 0, 1)],
            ProgramReason.SHAPE,
            "bias",
        ),
        (
            MatmulNT(bias=True),
            [(2, 3, I8, *FULL), (4, 3, I8, *FULL), (4, 1, I32, 0, 2**31 - 1)],
            ProgramReason.RANGE,
            "sum with bias reaches",
        ),
        (Argmax(), [(2, 3, I8, *FULL)] * 2, ProgramReason.SHAPE, "of 2 operands"),
        (Argmax(), [(2, 3, DType.INT64, 0, 1)], ProgramReason.DTYPE, "of INT64"),
    ],
)
def test_operands_that_do_not_fit(
    kind: OpKind, operands: list[tuple[int, int, DType, int, int]], reason: ProgramReason, message: str
) -> None:
    values = [Bounded(TensorSpec(rows, cols, dtype), low, high) for rows, cols, dtype, low, high in operands]
    with pytest.raises(ProgramError, match=message) as caught:
        kind.infer(values)
    assert caught.value.reason is reason


def test_the_longest_dot_product_fits_and_is_exact() -> None:
    worst = Bounded(TensorSpec(1, MAX_DEPTH, I8), -128, -128)
    assert MatmulNT().infer([worst, worst]).high == MAX_DEPTH * 16384
    row = np.full((1, MAX_DEPTH), -128, np.int8)
    assert MatmulNT().run(REFERENCE, [row, row]).tolist() == [[MAX_DEPTH * 16384]]


def test_constants_enter_the_encoding() -> None:
    kinds: list[OpKind] = [
        MatmulNT(),
        MatmulNT(bias=True),
        MatmulNT(Requant(1, 1)),
        MatmulNT(Requant(1, 2)),
        Argmax(),
    ]
    assert len({kind.encode() for kind in kinds}) == len(kinds)
