"""A folder of the BERT family, read as a float model.

BERT itself; RoBERTa, whose places begin later; DistilBERT, which has names of its own for everything, no
segments and no pooler.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from pouw.models.bert import BertShape, layer_part
from pouw.models.bert_float import ACTIVATIONS, FloatBert
from pouw.models.llama_float import Floats
from tools.importer.config_file import count, epsilon, read_json, require_known, within
from tools.importer.errors import ImportReason, ModelImportError
from tools.importer.tensor_folder import TensorFolder

ENCODERS: Final = ("bert", "roberta", "xlm-roberta", "distilbert")
"""The types of models that are read here, as configurations name them."""

_FIXED: Final[dict[str, tuple[Any, ...]]] = {
    "model_type": ENCODERS,
    "position_embedding_type": ("absolute", None),
    "is_decoder": (False,),
    "add_cross_attention": (False,),
}
"""What else a configuration may say, first the value that is meant when it says nothing."""

_SIZES: Final = (
    "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size"
)  # fmt: skip
"""Counts of the configuration, by BERT's names."""

_EMBEDDINGS: Final = "embeddings."


@dataclass(frozen=True, slots=True)
class _Names:
    """What a kind of model calls its parts.

    Args:
        layers: of the encoder, in the file.
        parts: of a layer, ours and theirs.
        segments: whether tokens of a first and of a second text are told apart.
        keys: of the configuration, BERT's and theirs, where they differ.
    """

    layers: str
    parts: Mapping[str, str]
    segments: bool
    keys: Mapping[str, str]


_PARTS: Final = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "o": "attention.output.dense",
    "attended": "attention.output.LayerNorm",
    "up": "intermediate.dense",
    "down": "output.dense",
    "fed": "output.LayerNorm",
}

_BERT: Final = _Names("encoder.layer", _PARTS, segments=True, keys={})

_DISTILBERT: Final = _Names(
    "transformer.layer",
    {
        **{part: f"attention.{part}_lin" for part in "qkv"},
        "o": "attention.out_lin",
        "attended": "sa_layer_norm",
        "up": "ffn.lin1",
        "down": "ffn.lin2",
        "fed": "output_layer_norm",
    },
    segments=False,
    keys={
        "hidden_size": "dim",
        "num_hidden_layers": "n_layers",
        "num_attention_heads": "n_heads",
        "intermediate_size": "hidden_dim",
        "hidden_act": "activation",
    },
)


def read_bert(folder: Path, *, positions: int = 0) -> FloatBert:
    """Read a model.

    Args:
        folder: holds config.json and the tensors, in one file or in several.
        positions: longest text that the integer model shall read; 0 for all that the model was made for.

    Raises:
        ModelImportError: any reason.
    """
    config = read_json(folder / "config.json")
    names = _DISTILBERT if config.get("model_type") == "distilbert" else _BERT
    activations = names.keys.get("hidden_act", "hidden_act")
    require_known(config, _FIXED | {activations: tuple(ACTIVATIONS)})
    stored = TensorFolder(folder)
    # Models with a head of any kind keep the encoder under a name of its own.
    prefixes = ("bert.", "roberta.", "distilbert.")
    prefix = next((name for name in prefixes if f"{name}{_EMBEDDINGS}word_embeddings.weight" in stored), "")
    places = count(config, "max_position_embeddings")
    skipped = 0 if config.get("model_type", "bert") in ("bert", "distilbert") else _padding(config) + 1
    segments = count({"type_vocab_size": 2, **config}, "type_vocab_size") if names.segments else 1
    pooler = f"{prefix}pooler.dense.weight" in stored
    sizes = {ours: count(config, names.keys.get(ours, ours)) for ours in _SIZES}
    shape = _shape(sizes, within(positions, places - skipped), min(segments, 2), pooler)
    expected = {name: (prefix + key, wanted) for name, (key, wanted) in _tensors(shape, names).items()}
    tables = {f"{prefix}{_EMBEDDINGS}position_embeddings.weight": (places, shape.width)}
    if names.segments:
        tables[f"{prefix}{_EMBEDDINGS}token_type_embeddings.weight"] = (segments, shape.width)
    stored.require(dict(expected.values()) | tables)
    weights: dict[str, Floats] = {name: stored.read(key) for name, (key, _) in expected.items()}
    place, *rest = (stored.read(key) for key in tables)
    kept = place[skipped : skipped + shape.positions]
    segment = rest[0] if rest else np.zeros((1, shape.width), np.float32)
    weights["places"] = np.concatenate([kept + segment[i] for i in range(shape.segments)])
    activation = config.get(activations, next(iter(ACTIVATIONS)))
    return FloatBert(shape, epsilon(config, "layer_norm_eps", 1e-12), activation, weights)


def _padding(config: Mapping[str, Any]) -> int:
    """The token that RoBERTa counts its places from."""
    value = config.get("pad_token_id", 1)
    if type(value) is not int or not 0 <= value < 1 << 10:
        raise ModelImportError(ImportReason.UNSUPPORTED, f"pad_token_id is {str(value)[:40]}")
    return value


def _shape(sizes: Mapping[str, int], positions: int, segments: int, pooler: bool) -> BertShape:
    width, heads = sizes["hidden_size"], sizes["num_attention_heads"]
    if width % heads:
        raise ModelImportError(ImportReason.SHAPE, f"{heads} heads of a width of {width}")
    return BertShape(
        vocabulary=sizes["vocab_size"],
        width=width,
        layers=sizes["num_hidden_layers"],
        heads=heads,
        hidden=sizes["intermediate_size"],
        positions=positions,
        segments=segments,
        pooler=pooler,
    )


def _tensors(shape: BertShape, names: _Names) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Our name of each tensor: its name in the file, and its shape; the places are put together of two."""
    width = shape.width
    rows = {"up": shape.hidden}
    columns = {"down": shape.hidden}
    found: dict[str, tuple[str, tuple[int, ...]]] = {
        "words": (f"{_EMBEDDINGS}word_embeddings.weight", (shape.vocabulary, width))
    }
    pairs = {"embedded": f"{_EMBEDDINGS}LayerNorm"}
    for layer in range(shape.layers):
        pairs |= {
            layer_part(layer, part): f"{names.layers}.{layer}.{key}" for part, key in names.parts.items()
        }
    if shape.pooler:
        pairs["pooler"] = "pooler.dense"
    for name, key in pairs.items():
        part = name.rsplit(" ", 1)[-1]
        height = rows.get(part, width)
        norm = part in ("embedded", "attended", "fed")
        found[name] = (f"{key}.weight", (width,) if norm else (height, columns.get(part, width)))
        found[f"{name} bias"] = (f"{key}.bias", (height,))
    return found
