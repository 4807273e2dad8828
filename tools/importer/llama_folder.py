"""A folder of the Llama family, read as a float model."""

from pathlib import Path
from typing import Any, Final

from pouw.models.llama import LlamaShape, layer_weight
from pouw.models.llama_float import FloatLlama, Floats
from tools.importer.config_file import count, epsilon, read_json, require_known, within
from tools.importer.errors import ImportReason, ModelImportError
from tools.importer.rotary_config import read_rotary
from tools.importer.tensor_folder import TensorFolder

_FIXED: Final[dict[str, tuple[Any, ...]]] = {
    "model_type": ("llama",),
    "hidden_act": ("silu",),
    "attention_bias": (False,),
    "mlp_bias": (False,),
    "pretraining_tp": (1,),
}
"""What else a configuration may say, first the value that is meant when it says nothing."""

_EMBEDDING: Final = "model.embed_tokens.weight"

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


def read_llama(folder: Path, *, positions: int = 0) -> FloatLlama:
    """Read a model.

    Args:
        folder: holds config.json and the tensors, in one file or in several.
        positions: longest text that the integer model shall read; 0 for all that the model was made for.

    Raises:
        ModelImportError: any reason.
    """
    config = read_json(folder / "config.json")
    require_known(config, _FIXED)
    shape = _shape(config, positions)
    rotary = read_rotary(config)
    stored = TensorFolder(folder)
    expected = _tensors(shape)
    if config.get("tie_word_embeddings", False):
        expected["head"] = (_EMBEDDING, expected["head"][1])
    stored.require(dict(expected.values()))
    weights: dict[str, Floats] = {name: stored.read(key) for name, (key, _) in expected.items()}
    small = epsilon(config, "rms_norm_eps", 1e-6)
    return FloatLlama(shape, small, rotary.base, weights, rotary.scaling)


def _shape(config: dict[str, Any], positions: int) -> LlamaShape:
    given = dict(config)
    heads = count(given, "num_attention_heads")
    width = count(given, "hidden_size")
    if given.get("num_key_value_heads") is None:
        given["num_key_value_heads"] = heads
    if given.get("head_dim") is None:
        given["head_dim"] = width // heads
    kv_heads, head_dim = count(given, "num_key_value_heads"), count(given, "head_dim")
    if heads % kv_heads or head_dim % 2:
        raise ModelImportError(
            ImportReason.SHAPE, f"{heads} heads over {kv_heads} of keys, {head_dim} values each"
        )
    return LlamaShape(
        vocabulary=count(given, "vocab_size"),
        width=width,
        layers=count(given, "num_hidden_layers"),
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        hidden=count(given, "intermediate_size"),
        positions=within(positions, count(given, "max_position_embeddings")),
    )


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
    found: dict[str, tuple[str, tuple[int, ...]]] = {"embedding": (_EMBEDDING, table)}
    for layer in range(shape.layers):
        for part, stored in _PARTS.items():
            found[layer_weight(layer, part)] = (f"model.layers.{layer}.{stored}.weight", sizes[part])
    found["final norm"] = ("model.norm.weight", (shape.width,))
    found["head"] = ("lm_head.weight", table)
    return found
