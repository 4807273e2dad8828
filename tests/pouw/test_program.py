"""Programs: what is refused, what the digest binds, what they cost."""

from dataclasses import replace

import pytest

from pouw.arithmetic.requant import Requant
from pouw.models.mlp import Layer, ModelManifest, mlp_program
from pouw.ops.argmax import Argmax
from pouw.ops.gate import Gate
from pouw.ops.last_rows import LastRows
from pouw.ops.matmul import MatmulNT
from pouw.program import INPUT, MAX_DEPTH, Op, Program, Source, Weight, build_program
from pouw.program_error import ProgramError, ProgramReason
from pouw.tensors import DType, TensorSpec
from tests.pouw.world import MANIFEST, make_model

ROOT = bytes(32)
SHAPE = TensorSpec(2, 8, DType.INT8)
MATRIX = Weight("w", TensorSpec(4, 8, DType.INT8), ROOT, -128, 127)
MATMUL = Op("m", MatmulNT(Requant(1, 4)), (INPUT, "w"))
BEST = Op("best", Argmax(), ("m",))


def build(
    shape: TensorSpec = SHAPE, weights: tuple[Weight, ...] = (MATRIX,), ops: tuple[Op, ...] = (MATMUL, BEST)
) -> Program:
    return build_program(shape, weights, ops)


def test_numbers_of_a_program() -> None:
    program = build()
    assert program.tensors == (SHAPE, TensorSpec(2, 4, DType.INT8), TensorSpec(2, 1, DType.INT8))
    assert program.unit_ends == (0, 64, 72)
    assert (program.units, program.last) == (72, 2)
    assert [program.name_of(i) for i in range(3)] == [INPUT, "m", "best"]


@pytest.mark.parametrize(
    ("weights", "ops", "reason"),
    [
        ((MATRIX,), (), ProgramReason.EMPTY),
        ((MATRIX, MATRIX), (MATMUL,), ProgramReason.NAME),
        ((replace(MATRIX, name=INPUT),), (MATMUL,), ProgramReason.NAME),
        ((MATRIX,), (MATMUL, MATMUL), ProgramReason.NAME),
        ((MATRIX,), (BEST, MATMUL), ProgramReason.NAME),
        ((), (MATMUL,), ProgramReason.NAME),
        ((replace(MATRIX, root=bytes(31)),), (MATMUL,), ProgramReason.WEIGHT),
        ((replace(MATRIX, low=-129),), (MATMUL,), ProgramReason.RANGE),
        ((replace(MATRIX, low=1, high=0),), (MATMUL,), ProgramReason.RANGE),
        ((MATRIX,), (Op("m", MatmulNT(), ("w", INPUT, "w")),), ProgramReason.SHAPE),
    ],
)
def test_programs_that_are_refused(
    weights: tuple[Weight, ...], ops: tuple[Op, ...], reason: ProgramReason
) -> None:
    with pytest.raises(ProgramError) as caught:
        build(weights=weights, ops=ops)
    assert caught.value.reason is reason


BRANCHES = [replace(MATMUL, name=name, inline=True) for name in ("gate", "up")]
GATED = Op("gated", Gate(bytes(512), 0), ("gate", "up"))
SAME = LastRows(1, 2, 2)


def test_what_is_not_committed_counts_for_what_reads_it_first() -> None:
    program = build(ops=(*BRANCHES, GATED, replace(BEST, operands=("gated",))))
    assert program.tensors == (SHAPE, TensorSpec(2, 4, DType.INT8), TensorSpec(2, 1, DType.INT8))
    assert [step.op.name for step in program.inlines] == ["gate", "up"]
    gate, up = (Source(False, index, inline=True) for index in (0, 1))
    assert program.order == (gate, up, Source(False, 1), Source(False, 2))
    assert program.steps[0].sources == (gate, up)
    assert (program.steps[0].cost, program.steps[0].units_per_row) == (4, 4 + 2 * 32)
    assert program.unit_ends == (0, 136, 144)
    committed = build(ops=(*(replace(op, inline=False) for op in BRANCHES), GATED))
    assert committed.units == build(ops=(*BRANCHES, GATED)).units
    assert committed.digest != build(ops=(*BRANCHES, GATED)).digest


@pytest.mark.parametrize(
    ("ops", "reason"),
    [
        ((replace(MATMUL, inline=True), BEST), ProgramReason.SHAPE),
        ((MATMUL, *BRANCHES), ProgramReason.NAME),
        ((Op("r", SAME, (INPUT,), inline=True), Op("m", MatmulNT(), ("w", "r"))), ProgramReason.SHAPE),
        (
            (
                Op("r 0", SAME, (INPUT,), inline=True),
                *(Op(f"r {i}", SAME, (f"r {i - 1}",), inline=True) for i in range(1, MAX_DEPTH + 1)),
                Op("m", MatmulNT(), (f"r {MAX_DEPTH}", "w")),
            ),
            ProgramReason.SHAPE,
        ),
    ],
    ids=["whole rows of a product", "nobody reads it", "units of no whole rows", "too long a chain"],
)
def test_inline_ops_that_are_refused(ops: tuple[Op, ...], reason: ProgramReason) -> None:
    with pytest.raises(ProgramError) as caught:
        build(ops=ops)
    assert caught.value.reason is reason


def test_ranges_are_carried_from_op_to_op() -> None:
    """The second product is bounded by what the first one's clamp lets through, not by its type."""
    deep = 131_071
    wide = Weight("v", TensorSpec(1, deep, DType.INT8), ROOT, -128, 127)
    bias = Weight("b", TensorSpec(1, 1, DType.INT32), ROOT, 0, 2**30)
    first = Weight("w", TensorSpec(deep, 8, DType.INT8), ROOT, -128, 127)

    def ops(high: int) -> tuple[Op, ...]:
        return (
            Op("m", MatmulNT(Requant(1, 4, low=0, high=high)), (INPUT, "w")),
            Op("n", MatmulNT(bias=True), ("m", "v", "b")),
        )

    build(weights=(first, wide, bias), ops=ops(high=63))
    with pytest.raises(ProgramError, match="sum with bias reaches") as caught:
        build(weights=(first, wide, bias), ops=ops(high=127))
    assert caught.value.reason is ProgramReason.RANGE


def test_the_digest_binds_everything() -> None:
    programs = [
        build(),
        build(shape=TensorSpec(3, 8, DType.INT8)),
        build(weights=(replace(MATRIX, root=b"\1" * 32),)),
        build(weights=(replace(MATRIX, low=-127),)),
        build(weights=(MATRIX, replace(MATRIX, name="unused"))),
        build(ops=(MATMUL,)),
        build(ops=(replace(MATMUL, kind=MatmulNT(Requant(1, 5))), BEST)),
        build(ops=(replace(MATMUL, kind=MatmulNT(Requant(1, 4, low=0))), BEST)),
        build(ops=(replace(MATMUL, name="x"), replace(BEST, operands=("x",)))),
        build(ops=(MATMUL, BEST, replace(BEST, name="again"))),
        build(ops=(MATMUL, replace(BEST, operands=(INPUT,)))),
    ]
    assert len({program.digest for program in programs}) == len(programs)
    assert build().digest == build().digest


def test_digest_vectors() -> None:
    assert build().digest.hex() == "a57d7ac2fdf90db4a268dc7905819e967647f8a7b58ed03bea6551d417efe8b3"
    assert (
        mlp_program(MANIFEST, 4).digest.hex()
        == "fe7b9ae35c94c7d268cf4384595258d85fa92aecda5c78ebe5b27b6620c89132"
    )
    assert MANIFEST.digest.hex() == "d3974feca93cea6c4e63f5fa92c23a5dad5a07c5ea018973f2a460b251cb165f"


def test_the_classifier_has_the_cost_of_its_layers() -> None:
    program = mlp_program(MANIFEST, 5)
    assert program.units == 5 * (64 * 24 + 24 * 16 + 16 * 10 + 10)
    assert program.tensors[program.last] == TensorSpec(5, 1, DType.INT8)
    assert mlp_program(MANIFEST, 5) == program


def test_manifests_that_are_refused() -> None:
    first, second, third = MANIFEST.layers
    for layers, reason in [
        ((), ProgramReason.EMPTY),
        ((first, third), ProgramReason.SHAPE),
        ((first, second), ProgramReason.CONSTANT),
        ((first, replace(second, requant=None), third), ProgramReason.CONSTANT),
        ((first, second, replace(third, bias_root=b"")), ProgramReason.WEIGHT),
    ]:
        with pytest.raises(ProgramError) as caught:
            ModelManifest("m", layers)
        assert caught.value.reason is reason


def test_a_model_whose_bias_could_overflow_is_refused() -> None:
    layer = replace(MANIFEST.layers[-1], bias_limit=2**31 - 1)
    with pytest.raises(ProgramError) as caught:
        mlp_program(ModelManifest("m", (*MANIFEST.layers[:-1], layer)), 1)
    assert caught.value.reason is ProgramReason.RANGE


def test_the_manifest_digest_binds_everything() -> None:
    first, *others = MANIFEST.layers

    def changed(**change: object) -> ModelManifest:
        return ModelManifest("small", (replace(first, **change), *others))  # type: ignore[arg-type]

    manifests = [
        MANIFEST, ModelManifest("other", MANIFEST.layers), changed(inputs=65), changed(weight_root=ROOT),
        changed(bias_root=ROOT), changed(bias_limit=5), changed(requant=Requant(3, 12, low=0)),
        make_model("another")[0],
    ]  # fmt: skip
    assert len({manifest.digest for manifest in manifests}) == len(manifests)
    assert isinstance(first, Layer)
