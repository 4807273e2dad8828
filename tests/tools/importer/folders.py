"""Model folders for the tests, written byte by byte."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

CONFIG: dict[str, Any] = {
    "model_type": "llama", "vocab_size": 60, "hidden_size": 32, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 48,
    "max_position_embeddings": 64, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "hidden_act": "silu",
}  # fmt: skip


def llama_tensors(seed: int = 0, vocabulary: int = 60) -> dict[str, NDArray[np.float32]]:
    """Tensors of a small model, by their names in the file."""
    rng = np.random.default_rng(seed)

    def matrix(rows: int, cols: int) -> NDArray[np.float32]:
        return np.asarray(rng.standard_normal((rows, cols)) / np.sqrt(cols), np.float32)

    tensors = {
        "model.embed_tokens.weight": rng.standard_normal((vocabulary, 32)).astype(np.float32),
        "model.norm.weight": np.ones(32, np.float32),
        "lm_head.weight": matrix(vocabulary, 32),
    }
    for layer in range(2):
        sizes = {
            "self_attn.q_proj": (32, 32), "self_attn.k_proj": (16, 32), "self_attn.v_proj": (16, 32),
            "self_attn.o_proj": (32, 32), "mlp.gate_proj": (48, 32), "mlp.up_proj": (48, 32),
            "mlp.down_proj": (32, 48),
        }  # fmt: skip
        for part, size in sizes.items():
            tensors[f"model.layers.{layer}.{part}.weight"] = matrix(*size)
        for part in ("input_layernorm", "post_attention_layernorm"):
            tensors[f"model.layers.{layer}.{part}.weight"] = np.ones(32, np.float32)
    return tensors


def pack(tensors: dict[str, NDArray[Any]], dtype: str = "F32", **changes: Any) -> bytes:
    """A safetensors file; changes replace entries of its header."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    data = b""
    for name, values in tensors.items():
        raw = values.astype("<f4").tobytes()
        if dtype == "BF16":
            raw = (values.astype("<f4").view("<u4") >> 16).astype("<u2").tobytes()
        if dtype == "F16":
            raw = values.astype("<f2").tobytes()
        header[name] = {
            "dtype": dtype, "shape": list(values.shape), "data_offsets": [len(data), len(data) + len(raw)],
        }  # fmt: skip
        data += raw
    header.update(changes)
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def write_folder(folder: Path, tensors: dict[str, NDArray[Any]] | None = None, **config: Any) -> Path:
    """A model folder."""
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps({**CONFIG, **config}))
    (folder / "model.safetensors").write_bytes(pack(tensors or llama_tensors()))
    return folder
