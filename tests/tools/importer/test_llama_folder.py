"""Llama folders: read as the library that wrote them reads them, quantised close to that, or refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pouw.backends.reference import ReferenceBackend
from pouw.models.byte_text import VOCABULARY, decode, encode
from pouw.models.llama_quantise import quantise
from tests.tools.importer.folders import llama_tensors, write_folder
from tools.importer.errors import ImportReason, ModelImportError
from tools.importer.llama_folder import read_llama
from tools.importer.report import measure_decoder

LLAMA3 = {
    "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}  # fmt: skip


def words(count: int, length: int, vocabulary: int, seed: int = 0) -> list[Any]:
    return list(np.random.default_rng(seed).integers(0, vocabulary, (count, length)))


def test_a_folder_becomes_an_integer_model(tmp_path: Path) -> None:
    model = read_llama(write_folder(tmp_path), positions=48)
    assert (model.shape.layers, model.shape.kv_heads, model.shape.head_dim, model.base) == (2, 2, 8, 10000)
    manifest, weights = quantise(model, words(6, 48, 60), name="small")
    distance = measure_decoder(model, manifest, weights, words(3, 40, 60, seed=1), ReferenceBackend())
    assert distance.tokens == 120
    assert abs(distance.perplexity_ratio - 1) < 0.02
    assert distance.cosine > 0.99
    assert distance.agreement > 0.8


def test_a_tied_head_is_the_embedding(tmp_path: Path) -> None:
    tensors = llama_tensors()
    del tensors["lm_head.weight"]
    model = read_llama(write_folder(tmp_path, tensors, tie_word_embeddings=True), positions=8)
    assert np.array_equal(model.weights["head"], tensors["model.embed_tokens.weight"])
    with pytest.raises(ModelImportError, match=r"MISSING: no tensor lm_head.weight"):
        read_llama(write_folder(tmp_path, tensors), positions=8)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"model_type": "mistral"}, ImportReason.UNSUPPORTED),
        ({"hidden_act": "gelu"}, ImportReason.UNSUPPORTED),
        ({"attention_bias": True}, ImportReason.UNSUPPORTED),
        ({"rope_scaling": {"type": "linear"}}, ImportReason.MISSING),
        ({"rope_scaling": {"type": "linear", "factor": 0.5}}, ImportReason.MALFORMED),
        ({"rope_scaling": {"type": "linear", "factor": "2"}}, ImportReason.MALFORMED),
        ({"rope_scaling": "linear"}, ImportReason.MALFORMED),
        ({"rope_scaling": {"rope_type": "llama3", "factor": 8}}, ImportReason.MISSING),
        ({"rope_scaling": LLAMA3 | {"low_freq_factor": 4}}, ImportReason.MALFORMED),
        ({"rope_scaling": LLAMA3 | {"original_max_position_embeddings": 0}}, ImportReason.MALFORMED),
        ({"rope_scaling": LLAMA3, "rope_parameters": {"rope_theta": 5}}, ImportReason.MALFORMED),
        ({"rope_scaling": {"type": "dynamic", "factor": 2}}, ImportReason.UNSUPPORTED),
        ({"rope_scaling": {"type": "longrope"}}, ImportReason.UNSUPPORTED),
        ({"rope_scaling": {"type": "mine"}}, ImportReason.UNSUPPORTED),
        ({"rope_parameters": {"rope_type": "yarn"}}, ImportReason.UNSUPPORTED),
        ({"rope_parameters": {"partial_rotary_factor": 0.5}}, ImportReason.UNSUPPORTED),
        ({"rope_theta": 1e300}, ImportReason.UNSUPPORTED),
        ({"rms_norm_eps": "small"}, ImportReason.UNSUPPORTED),
        ({"vocab_size": None}, ImportReason.MISSING),
        ({"vocab_size": 1 << 40}, ImportReason.OVERSIZE),
        ({"num_hidden_layers": 0}, ImportReason.OVERSIZE),
        ({"num_hidden_layers": True}, ImportReason.OVERSIZE),
        ({"hidden_size": 2.5}, ImportReason.OVERSIZE),
        ({"num_key_value_heads": 3}, ImportReason.SHAPE),
        ({"head_dim": 7}, ImportReason.SHAPE),
        ({"intermediate_size": 49}, ImportReason.SHAPE),
        ({"max_position_embeddings": 4}, ImportReason.SHAPE),
        ({"num_hidden_layers": 3}, ImportReason.MISSING),
    ],
)
def test_what_is_not_such_a_model_is_refused(
    tmp_path: Path, change: dict[str, Any], reason: ImportReason
) -> None:
    with pytest.raises(ModelImportError) as caught:
        read_llama(write_folder(tmp_path, **change), positions=8)
    assert caught.value.reason is reason


def test_a_configuration_that_is_none(tmp_path: Path) -> None:
    folder = write_folder(tmp_path)
    for text in ("", "[]", "{", "[" * 50000, '{"rope_theta": Infinity}', '{"rope_theta": NaN}'):
        (folder / "config.json").write_text(text)
        with pytest.raises(ModelImportError) as caught:
            read_llama(folder, positions=8)
        assert caught.value.reason is ImportReason.MALFORMED
    (folder / "config.json").unlink()
    with pytest.raises(ModelImportError, match=r"MISSING: no file config.json"):
        read_llama(folder, positions=8)


def test_logits_are_those_of_the_library_that_wrote_the_folder(tmp_path: Path) -> None:
    """The float twin is not our own idea of the architecture."""
    transformers = pytest.importorskip("transformers", reason="compares with the transformers library")
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=90, hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=64, rope_theta=50000.0, initializer_range=0.1,
    )  # fmt: skip
    written = transformers.LlamaForCausalLM(config).eval()
    written.save_pretrained(tmp_path)
    tokens = words(1, 50, 90)[0]
    with torch.no_grad():
        expected = written(torch.from_numpy(tokens)[None]).logits[0].numpy()
    got = read_llama(tmp_path, positions=64).logits(tokens)
    assert np.abs(got - expected).max() < 1e-4


def test_bytes_are_tokens() -> None:
    assert decode(encode("mill, Mühle, 磨")) == "mill, Mühle, 磨"
    assert encode("é").tolist() == [0xC3, 0xA9]
    assert encode("é").max() < VOCABULARY
    assert decode(encode("é")[:1]) == "�"
