"""A folder of the Llama family: config.json and model.safetensors, read as a float model."""

import json
from pathlib import Path
from typing import Any, Final

from pouw.llama import LlamaShape, layer_weight
from pouw.llama_float import FloatLlama, Floats
from tools.importer.errors import ImportReason, ModelImportError
from tools.importer.safetensors import TensorFile

MAX_CONFIG_BYTES: Final = 1 << 20

MAX_PARAMETERS: Final = 1 << 36

_BOUNDS: Final = {
    "vocab_size": 1 << 20,
    "hidden_size": 1 << 15,
    "num_hidden_layers": 256,
    "num_attention_heads": 1 << 10,
    "num_key_value_heads": 1 << 10,
    "head_dim": 1 << 10,
    "intermediate_size": 1 << 17,
    "max_position_embeddings": 1 << 20,
}

_FIXED: Final[dict[str, tuple[Any, ...]]] = {
    "model_type": ("llama",),
    "hidden_act": ("silu",),
    "attention_bias": (False,),
    "mlp_bias": (False,),
    "rope_scaling": (None,),
    "pretraining_tp": (1,),
}
"""What else a configuration may say, first the value that is meant when it says nothing."""

_PARTS: Final = {
    "norm 1": "input_layernorm",
    "q": "self_attn.q_proj",
    "k": "self_attn.k_proj",
    "v": "self_attn.v_proj",
    "o": "self_attn.o_proj",
    "norm 2": "post_attention_layernorm",
    "gate": "mlp.gate_proj",
    "up": "mlp.up_proj",
    "down": "mlp.down_proj",
}


def read_llama(folder: Path, *, positions: int) -> FloatLlama:
    """Read a model.

    Args:
        folder: holds config.json and model.safetensors.
        positions: longest text that the integer model shall read; at most what the model was made for.

    Raises:
        ModelImportError: any reason.
    """
    config = _read_config(folder / "config.json")
    shape = _shape(config, positions)
    file = TensorFile(folder / "model.safetensors")
    weights: dict[str, Floats] = {}
    expected = _tensors(shape)
    if config.get("tie_word_embeddings", False):
        expected["head"] = ("model.embed_tokens.weight", expected["head"][1])
    # Every shape is compared before any tensor is read.
    for stored, wanted in expected.values():
        found = file.tensors.get(stored)
        if found is None:
            raise ModelImportError(ImportReason.MISSING, f"no tensor {stored}")
        if found.shape != wanted:
            raise ModelImportError(
                ImportReason.SHAPE, f"{stored} is {found.shape}, the configuration says {wanted}"
            )
    for name, (stored, _) in expected.items():
        weights[name] = file.read(stored)
    return FloatLlama(shape, _epsilon(config), _base(config), weights)


def _read_config(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise ModelImportError(ImportReason.MISSING, f"no file {path.name}")
    if path.stat().st_size > MAX_CONFIG_BYTES:
        raise ModelImportError(
            ImportReason.OVERSIZE, f"{path.stat().st_size} bytes of {path.name}, at most {MAX_CONFIG_BYTES}"
        )
    try:
        config = json.loads(path.read_bytes(), parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise ModelImportError(ImportReason.MALFORMED, f"{path.name}: {error}") from error
    if not isinstance(config, dict):
        raise ModelImportError(ImportReason.MALFORMED, f"{path.name} is no object")
    for key, values in _FIXED.items():
        if config.get(key, values[0]) not in values:
            raise ModelImportError(
                ImportReason.UNSUPPORTED, f"{key} is {str(config[key])[:60]}, known is {values[0]}"
            )
    return config


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is no number")


def _shape(config: dict[str, Any], positions: int) -> LlamaShape:
    given = dict(config)
    heads = _count(given, "num_attention_heads")
    if given.get("num_key_value_heads") is None:
        given["num_key_value_heads"] = heads
    if given.get("head_dim") is None:
        given["head_dim"] = _count(given, "hidden_size") // heads
    counts = {key: _count(given, key) for key in _BOUNDS}
    if not 1 <= positions <= counts["max_position_embeddings"]:
        raise ModelImportError(
            ImportReason.SHAPE, f"{positions} positions of a model for {counts['max_position_embeddings']}"
        )
    kv_heads, head_dim = counts["num_key_value_heads"], counts["head_dim"]
    if heads % kv_heads or head_dim % 2:
        raise ModelImportError(
            ImportReason.SHAPE, f"{heads} heads over {kv_heads} of keys, {head_dim} values each"
        )
    shape = LlamaShape(
        vocabulary=counts["vocab_size"],
        width=counts["hidden_size"],
        layers=counts["num_hidden_layers"],
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        hidden=counts["intermediate_size"],
        positions=positions,
    )
    parameters = sum(_size(wanted) for _, wanted in _tensors(shape).values())
    if parameters > MAX_PARAMETERS:
        raise ModelImportError(ImportReason.OVERSIZE, f"{parameters} parameters, at most {MAX_PARAMETERS}")
    return shape


def _count(config: dict[str, Any], key: str) -> int:
    value = config.get(key)
    if type(value) is not int or not 1 <= value <= _BOUNDS[key]:
        reason = ImportReason.MISSING if value is None else ImportReason.OVERSIZE
        raise ModelImportError(reason, f"{key} is {str(value)[:40]}, allowed are 1..{_BOUNDS[key]}")
    return value


def _epsilon(config: dict[str, Any]) -> float:
    value = config.get("rms_norm_eps", 1e-6)
    if type(value) is not float or not 0 < value < 1:
        raise ModelImportError(ImportReason.UNSUPPORTED, f"rms_norm_eps is {str(value)[:40]}")
    return value


def _base(config: dict[str, Any]) -> int:
    parameters = config.get("rope_parameters") or {}
    if not isinstance(parameters, dict) or parameters.get("rope_type", "default") != "default":
        raise ModelImportError(ImportReason.UNSUPPORTED, f"rope_parameters are {str(parameters)[:60]}")
    value = parameters.get("rope_theta", config.get("rope_theta", 10000))
    if type(value) not in (int, float) or value != int(value) or not 2 <= value <= 1 << 31:
        raise ModelImportError(ImportReason.UNSUPPORTED, f"rope_theta is {str(value)[:40]}")
    return int(value)


def _tensors(shape: LlamaShape) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Our name of each tensor: its name in the file, and its shape."""
    queries, keys = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    sizes: dict[str, tuple[int, ...]] = {
        "norm 1": (shape.width,), "norm 2": (shape.width,),
        "q": (queries, shape.width), "k": (keys, shape.width), "v": (keys, shape.width),
        "o": (shape.width, queries), "gate": (shape.hidden, shape.width),
        "up": (shape.hidden, shape.width), "down": (shape.width, shape.hidden),
    }  # fmt: skip
    table = (shape.vocabulary, shape.width)
    found: dict[str, tuple[str, tuple[int, ...]]] = {"embedding": ("model.embed_tokens.weight", table)}
    for layer in range(shape.layers):
        for part, stored in _PARTS.items():
            found[layer_weight(layer, part)] = (f"model.layers.{layer}.{stored}.weight", sizes[part])
    found["final norm"] = ("model.norm.weight", (shape.width,))
    found["head"] = ("lm_head.weight", table)
    return found


def _size(shape: tuple[int, ...]) -> int:
    size = 1
    for length in shape:
        size *= length
    return size
