"""Multi-layer perceptrons: the manifest that names a model, and the program that runs it on a batch."""

from dataclasses import dataclass
from typing import Final

from pouw.arithmetic.requant import Requant
from pouw.hashing import HASH_BYTES, domain, framed, i64, keyed, u32
from pouw.ops.argmax import Argmax
from pouw.ops.matmul import MatmulNT
from pouw.program import INPUT, Op, Program, Weight, build_program
from pouw.program_error import ProgramError, ProgramReason
from pouw.tensors import DType, TensorSpec

_MANIFEST: Final = domain("mlp manifest")

MAX_LAYERS: Final = 64


@dataclass(frozen=True, slots=True)
class Layer:
    """One linear layer.

    Args:
        inputs: values per row that it reads.
        outputs: values per row that it gives.
        requant: how its sums become int8; None in the last layer, whose sums are the logits.
        weight_root: of the int8 [outputs, inputs] matrix.
        bias_root: of the int32 [outputs, 1] biases.
        bias_limit: no bias is larger than this in size.
    """

    inputs: int
    outputs: int
    requant: Requant | None
    weight_root: bytes
    bias_root: bytes
    bias_limit: int


@dataclass(frozen=True, slots=True)
class ModelManifest:
    """All that a verifier needs of a model: no weights, only their roots.

    Args:
        name: for people.
        layers: first to last; each reads what the one before gives.

    Raises:
        ProgramError: EMPTY, SHAPE, or WEIGHT for a root that is not 32 bytes.
    """

    name: str
    layers: tuple[Layer, ...]

    def __post_init__(self) -> None:
        if not 1 <= len(self.layers) <= MAX_LAYERS:
            raise ProgramError(ProgramReason.EMPTY, f"{len(self.layers)} layers, allowed are 1..{MAX_LAYERS}")
        for before, after in zip(self.layers, self.layers[1:], strict=False):
            if before.outputs != after.inputs:
                raise ProgramError(
                    ProgramReason.SHAPE,
                    f"a layer gives {before.outputs} values, the next reads {after.inputs}",
                )
        for layer in self.layers:
            if (layer.requant is None) != (layer is self.layers[-1]):
                raise ProgramError(
                    ProgramReason.CONSTANT, "every layer but the last requantises, and only those"
                )
            for root in (layer.weight_root, layer.bias_root):
                if len(root) != HASH_BYTES:
                    raise ProgramError(ProgramReason.WEIGHT, f"a root of {len(root)} bytes, not {HASH_BYTES}")

    @property
    def digest(self) -> bytes:
        """32 bytes that bind the name, the shapes, the constants and the roots."""
        layers = (
            framed(
                u32(layer.inputs) + u32(layer.outputs) + i64(layer.bias_limit),
                b"" if layer.requant is None else layer.requant.encode(),
                layer.weight_root,
                layer.bias_root,
            )
            for layer in self.layers
        )
        return keyed(_MANIFEST, framed(self.name.encode(), *layers))


def weight_name(layer: int) -> str:
    """The name of a layer's matrix among a model's weights."""
    return f"weight {layer}"


def bias_name(layer: int) -> str:
    """The name of a layer's biases among a model's weights."""
    return f"bias {layer}"


def mlp_program(manifest: ModelManifest, batch: int) -> Program:
    """The program that classifies a batch of rows: linear layers, then the greatest logit of each row.

    Args:
        manifest: the model.
        batch: rows of the input, which is int8 [batch, inputs of the first layer].

    Raises:
        ProgramError: SHAPE, or RANGE if the model's constants allow a sum beyond int32.
    """
    weights: list[Weight] = []
    ops: list[Op] = []
    source = INPUT
    for number, layer in enumerate(manifest.layers):
        matrix = TensorSpec(layer.outputs, layer.inputs, DType.INT8)
        biases = TensorSpec(layer.outputs, 1, DType.INT32)
        limit = layer.bias_limit
        weights.append(
            Weight(weight_name(number), matrix, layer.weight_root, DType.INT8.low, DType.INT8.high)
        )
        weights.append(Weight(bias_name(number), biases, layer.bias_root, -limit, limit))
        kind = MatmulNT(requant=layer.requant, bias=True)
        ops.append(Op(f"layer {number}", kind, (source, weight_name(number), bias_name(number))))
        source = f"layer {number}"
    ops.append(Op("class", Argmax(), (source,)))
    return build_program(TensorSpec(batch, manifest.layers[0].inputs, DType.INT8), weights, ops)
