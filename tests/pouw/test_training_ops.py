"""The op kinds of training: cells against runs, backends against each other, float twins, refusals."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from pouw.arithmetic.cross_entropy import NATS, loss_gradient, row_losses
from pouw.arithmetic.generator import random_bytes
from pouw.arithmetic.stochastic import noise_rows, spread
from pouw.backends import known_training
from pouw.backends.backend import Backend, BackendError
from pouw.backends.known_answer import check_backend
from pouw.backends.known_training import TRAINING_ANSWER, training_digest
from pouw.backends.reference import ReferenceBackend
from pouw.backends.reference_training import ReferenceTraining
from pouw.backends.select import select_backend
from pouw.ops.columns import Columns
from pouw.ops.kind import Bounded, OpKind
from pouw.ops.loss_gradient import LossGradient
from pouw.ops.optimiser import Descend, Velocity
from pouw.ops.rounded import Rounded
from pouw.ops.stochastic_requant import StochasticRequant
from pouw.ops.total import Total
from pouw.ops.transpose import Transpose
from pouw.program_error import ProgramError, ProgramReason
from pouw.tensors import Array, DType, TensorSpec
from tests.pouw.plain import PlainBackend
from tests.pouw.test_ops import every_cell_agrees
from tests.pouw.world import REFERENCE, int8s

I8, I16, I32, I64 = DType.INT8, DType.INT16, DType.INT32, DType.INT64
FAST = select_backend("auto")

rows, cols = st.integers(1, 6), st.integers(1, 20)
draws = st.integers(0, 99)
bits = st.integers(0, 23)
"""How much smaller than 2^30 values are."""


def int32s(name: str, m: int, n: int, less: int) -> NDArray[np.int32]:
    noise = random_bytes(name.encode(), path=(), count=4 * m * n)
    return np.frombuffer(noise, np.dtype("<i4")).reshape(m, n) >> (1 + less)


def agrees(kind: OpKind, operands: list[Any]) -> None:
    """Cells agree with the reference's run, and so does the fast backend."""
    every_cell_agrees(kind, operands)
    expected = REFERENCE.get(kind.run(REFERENCE, operands))
    got = FAST.get(kind.run(FAST, [FAST.put(operand) for operand in operands]))
    assert (got.dtype, got.tolist()) == (expected.dtype, expected.tolist())


@given(rows, cols, st.sampled_from(["<i1", "<i2", "<i4", "<i8"]))
def test_moving_cells(m: int, n: int, dtype: str) -> None:
    values = int8s("moved", m, n).astype(dtype)
    agrees(Transpose(), [values])
    agrees(Columns(n // 3, n - n // 3), [values])


@given(rows, cols, bits, draws, st.integers(1, 4))
def test_total_cells(m: int, n: int, less: int, draw: int, terms: int) -> None:
    agrees(Total(terms), [int32s(f"{draw} {term}", m, n, less + 2) for term in range(terms)])


@given(rows, cols, bits, st.integers(0, 30), st.sampled_from([I8, I32]))
def test_rounded_cells(m: int, n: int, less: int, shift: int, dtype: DType) -> None:
    agrees(Rounded(shift, low=-127, high=100, dtype=dtype), [int32s("rounded", m, n, less)])


@given(rows, cols, bits, st.integers(0, 24), st.booleans(), st.integers(0, 3), draws)
def test_stochastic_requant_cells(
    m: int, n: int, less: int, shift: int, gated: bool, start: int, draw: int
) -> None:
    operands: list[Any] = [int32s(f"{draw} a", m, n, less), int8s(f"{draw} b", m, n + start)]
    agrees(StochasticRequant(shift, start, gated), operands + [int8s(f"{draw} c", m, n)] * gated)
    narrow = (operands[0] >> 15).astype(np.int16)
    agrees(StochasticRequant(shift, start), [narrow, operands[1]])


@given(rows, cols, bits, st.integers(10, 30), draws)
def test_loss_gradient_cells(m: int, n: int, less: int, scale: int, draw: int) -> None:
    """Labels that are no column included: nothing may raise."""
    agrees(LossGradient(1, scale), [int32s(f"{draw} a", m, n, less), int8s(f"{draw} b", m, 2)])


@given(rows, cols, st.integers(1, 23), st.integers(0, 24), st.integers(1, 16), draws)
def test_update_cells(m: int, n: int, less: int, shift: int, friction: int, draw: int) -> None:
    speed, gradient = (int32s(f"{draw} {i}", m, n, less) for i in range(2))
    agrees(Velocity(b"%d" % draw, 3, shift=shift, friction=friction, limit=1 << 29), [speed, gradient])
    agrees(Descend(1 << 28), [speed, gradient])


# Backends.


def test_the_known_answer_of_training() -> None:
    backends: list[Backend] = [PlainBackend(), ReferenceBackend(), FAST]
    assert [training_digest(backend) for backend in backends] == [TRAINING_ANSWER] * 3


class Truncating(ReferenceTraining):
    """Shifts that round towards zero, as a division in C would."""

    def rounded(self, a: Array, *, shift: int, low: int, high: int, dtype: DType) -> Array:
        half = (a.astype(np.int64) + ((1 << shift) >> 1)) / (1 << shift)
        result: Array = np.clip(half.astype(np.int64), low, high).astype(dtype.numpy)
        return result


class WrongBackend(ReferenceBackend):
    @property
    def training(self) -> ReferenceTraining:
        return Truncating()


def test_a_backend_that_trains_wrongly_is_refused() -> None:
    with pytest.raises(BackendError, match="trains wrongly on this machine: known answer 01e8130f"):
        check_backend(WrongBackend())


def test_known_shapes_reach_every_branch() -> None:
    assert {shift > 8 for shift in known_training._SHIFTS} == {True, False}


# Float twins.


def test_stochastic_rounding_is_unbiased() -> None:
    """All 256 bytes: the mean of the rounded values is the value, up to what a byte can tell."""
    noise = np.arange(-128, 128).astype(np.int8).reshape(1, -1)
    for shift in (0, 1, 5, 8, 9, 12, 20):
        for x in (-5000, -129, -1, 0, 1, 77, 4095):
            mean = np.mean((x + spread(noise, shift)) >> shift)
            assert abs(mean - x / 2**shift) <= (0 if shift <= 8 else 2**-9 + 1e-12), (shift, x)


def test_loss_gradient_float_twin() -> None:
    logits = int32s("logits", 200, 10, 17)
    labels = np.abs(int8s("labels", 200, 1)) % 10
    real = np.exp(logits / 1024 - (logits / 1024).max(axis=1, keepdims=True))
    chances = real / real.sum(axis=1, keepdims=True)
    gradient = loss_gradient(logits, labels[:, 0], scale=10)
    expected = chances - np.eye(10)[labels[:, 0]]
    assert np.abs(gradient / 2**14 - expected).max() < 2**-14
    assert np.std(logits / 1024) > 2
    losses = row_losses(gradient, labels[:, 0]) / 2**NATS
    true = -np.log(np.take_along_axis(chances, labels.astype(np.int64), axis=1)[:, 0])
    likely = true < 5
    assert likely.sum() > 50
    assert np.abs(losses - true)[likely].max() < 0.01
    assert (losses <= 15 * np.log(2) + 0.01).all()


def test_stochastic_requant_float_twin() -> None:
    values, gate = int32s("twin a", 40, 200, 15), int8s("twin b", 40, 200)
    noise = np.concatenate([int8s(f"twin {i}", 40, 200) for i in range(200)], axis=1)
    total = np.zeros((40, 200))
    for start in range(0, 200 * 200, 200):
        kind = StochasticRequant(9, start, gated=True)
        total += kind.run(REFERENCE, [values, noise, gate])
    real = np.clip(values / 512, -127, 127) * ((gate > 0) & (gate < 127))
    # The mean of 200 roundings, each with a deviation of one half at most.
    assert np.abs(total / 200 - real).max() < 0.5 * 6 / np.sqrt(200)


def test_update_float_twin() -> None:
    """A hundred steps of momentum on a slope that changes, against the same in float64."""
    weights, speed = int32s("weights", 20, 30, 8), np.zeros((20, 30), np.int32)
    real_weights, real_speed = weights / 2**20, np.zeros((20, 30))
    for step in range(100):
        gradient = int32s(f"slope {step % 7}", 20, 30, 14)
        speed = Velocity(b"s", step, shift=3, friction=3, limit=1 << 30).run(REFERENCE, [speed, gradient])
        weights = Descend((1 << 30) - 1).run(REFERENCE, [weights, speed])
        real_speed = real_speed * 0.875 + gradient / 2**23
        real_weights = real_weights - real_speed
    moved = np.std(real_weights - int32s("weights", 20, 30, 8) / 2**20)
    assert moved > 0.01
    # Each step rounds by at most a unit of 2^-20, which friction lets live for eight steps.
    assert np.abs(weights / 2**20 - real_weights).max() < 8 * 100 * 2**-20
    assert np.sqrt(np.mean((weights / 2**20 - real_weights) ** 2)) < 0.005 * moved


def test_noise_of_a_row_is_a_stretch_of_its_tensors() -> None:
    whole = noise_rows(b"seed", stream=5, rows=range(9), cols=70)
    assert np.array_equal(noise_rows(b"seed", stream=5, rows=range(4, 6), cols=70), whole[4:6])
    others = [
        noise_rows(b"seed", stream=6, rows=range(9), cols=70),
        noise_rows(b"s", stream=5, rows=range(9), cols=70),
    ]
    assert all((other == whole).mean() < 0.02 for other in others)


# Programs that are refused.

FULL8, FULL32 = (-128, 127), (-(2**31), 2**31 - 1)
VELOCITY = Velocity(b"", 0, shift=2, friction=3, limit=5)


@pytest.mark.parametrize(
    ("kind", "operands", "reason", "message"),
    [
        (Transpose(), [], ProgramReason.SHAPE, "transpose of 0 operands, it takes 1"),
        (Columns(2, 3), [(2, 4, I8, *FULL8)], ProgramReason.CONSTANT, r"columns up to 5, allowed are 1\.\.4"),
        (Total(2), [(2, 4, I32, 0, 1), (2, 4, I8, 0, 1)], ProgramReason.DTYPE, "total of INT8, it takes"),
        (Total(2), [(2, 4, I32, 0, 1), (2, 5, I32, 0, 1)], ProgramReason.SHAPE, "total of "),
        (Total(2), [(2, 4, I32, 0, 2**30)] * 2, ProgramReason.RANGE, r"reaches 0\.\.2147483648"),
        (
            Total(3),
            [(2, 4, I32, 0, 2**31 - 1), (2, 4, I32, -1, 1), (2, 4, I32, -9, -5)],
            ProgramReason.RANGE,
            "a part of the total",
        ),
        (Rounded(3, low=0, high=1, dtype=I8), [(2, 4, I32, *FULL32)], ProgramReason.RANGE, "before its"),
        (Rounded(3, low=0, high=1, dtype=I8), [(2, 4, I16, 0, 1)], ProgramReason.DTYPE, "INT16"),
        (StochasticRequant(3), [(2, 4, I32, *FULL32), (2, 4, I8, *FULL8)], ProgramReason.RANGE, "before its"),
        (StochasticRequant(3), [(2, 4, I64, 0, 1), (2, 4, I8, *FULL8)], ProgramReason.DTYPE, "INT64"),
        (StochasticRequant(3, 1), [(2, 4, I32, 0, 1), (2, 4, I8, *FULL8)], ProgramReason.SHAPE, "column 1"),
        (
            StochasticRequant(3, gated=True),
            [(2, 4, I32, 0, 1), (2, 4, I8, *FULL8), (2, 5, I8, *FULL8)],
            ProgramReason.SHAPE,
            "a gate of",
        ),
        (LossGradient(1), [(2, 4, I32, *FULL32), (2, 1, I8, *FULL8)], ProgramReason.SHAPE, "in column 1"),
        (LossGradient(), [(2, 4, I8, *FULL8), (2, 1, I8, *FULL8)], ProgramReason.DTYPE, "INT8 and INT8"),
        (VELOCITY, [(2, 4, I32, *FULL32), (2, 4, I32, 0, 1)], ProgramReason.RANGE, "a speed before"),
        (VELOCITY, [(2, 4, I32, 0, 1), (2, 4, I32, *FULL32)], ProgramReason.RANGE, "a gradient before"),
        (VELOCITY, [(2, 4, I32, 0, 2**31 - 9), (2, 4, I32, 0, 99)], ProgramReason.RANGE, "with its gradient"),
        (Descend(3), [(2, 4, I32, -2, 2**31 - 1), (2, 4, I32, -1, 1)], ProgramReason.RANGE, "less its speed"),
    ],
)  # fmt: skip
def test_operands_that_do_not_fit(
    kind: OpKind, operands: list[tuple[int, int, DType, int, int]], reason: ProgramReason, message: str
) -> None:
    values = [Bounded(TensorSpec(m, n, dtype), low, high) for m, n, dtype, low, high in operands]
    with pytest.raises(ProgramError, match=message) as caught:
        kind.infer(values)
    assert caught.value.reason is reason


@pytest.mark.parametrize(
    "make",
    [
        lambda: Columns(-1, 1), lambda: Columns(0, 0), lambda: Total(0), lambda: Total(257),
        lambda: Rounded(31, low=0, high=1, dtype=I8), lambda: Rounded(1, low=-129, high=1, dtype=I8),
        lambda: Rounded(1, low=2, high=1, dtype=I8), lambda: StochasticRequant(25),
        lambda: LossGradient(0, 9), lambda: Velocity(b"", 0, shift=-1, friction=3, limit=5),
        lambda: Descend(0),
        lambda: Velocity(b"", 0, shift=1, friction=0, limit=5),
    ],
)  # fmt: skip
def test_constants_that_are_refused(make: Any) -> None:
    with pytest.raises(ProgramError) as caught:
        make()
    assert caught.value.reason is ProgramReason.CONSTANT


def test_constants_enter_the_encoding() -> None:
    kinds: list[OpKind] = [
        Transpose(), Columns(0, 1), Columns(1, 1), Total(1), Total(2), Descend(1), Descend(2), LossGradient(),
        LossGradient(1), LossGradient(0, 11), StochasticRequant(1), StochasticRequant(1, 1),
        StochasticRequant(1, gated=True), Rounded(1, low=0, high=1, dtype=I8),
        Rounded(1, low=0, high=1, dtype=I32), VELOCITY, Velocity(b"x", 0, shift=2, friction=3, limit=5),
        Velocity(b"", 1, shift=2, friction=3, limit=5),
        Velocity(b"", 0, shift=2, friction=4, limit=5), Velocity(b"", 0, shift=2, friction=3, limit=6),
    ]  # fmt: skip
    assert len({kind.encode() for kind in kinds}) == len(kinds)
