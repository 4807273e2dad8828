"""Folders that the `transformers` library wrote: our float twins give its numbers, our integers come near."""

import json
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pouw.arithmetic.rotary_scaling import RotaryScaling
from pouw.arithmetic.tables import rotary_table
from pouw.backends.cpu import open_cpu
from pouw.models.bert import Pooling
from pouw.models.llama import TURN
from pouw.tensors import Array
from tests.tools.importer import foreign
from tools.importer.bert_folder import read_bert
from tools.importer.errors import ImportReason, ModelImportError
from tools.importer.import_model import ImportOptions, import_model
from tools.importer.llama_folder import read_llama
from tools.importer.tensor_folder import INDEX
from tools.models.artifact import Artifact, load_artifact
from tools.models.local import embed

torch = foreign.torch
CPU = open_cpu()

SHORT = 24
"""Tokens of a text: matrices so small that no library starts threads for them."""


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def words(count: int, vocabulary: int = 300, seed: int = 0) -> Array:
    found: Array = np.random.default_rng(seed).integers(0, vocabulary, count)
    return found


def logits(model: Any, tokens: Array) -> Any:
    with torch.no_grad():
        return model(torch.from_numpy(tokens)[None]).logits[0].numpy()


@pytest.mark.parametrize("tied", [False, True])
def test_a_decoder(tmp_path: Path, tied: bool) -> None:
    model = foreign.decoder(tmp_path, tie_word_embeddings=tied)
    ours = read_llama(tmp_path)
    assert (ours.shape.kv_heads, ours.shape.positions) == (2, 128)
    tokens = words(60)
    assert np.abs(ours.logits(tokens) - logits(model, tokens)).max() < 1e-4


SCALINGS = {
    "linear": {"rope_type": "linear", "factor": 2.5, "rope_theta": 10000.0},
    "llama3": {
        "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 32, "rope_theta": 500000.0,
    },
}  # fmt: skip


@pytest.mark.parametrize("kind", SCALINGS)
def test_a_decoder_with_scaled_turns(tmp_path: Path, kind: str) -> None:
    """As the library computes it, in either spelling; in integers within the bounds of every import."""
    folder, out = tmp_path / "tiny", tmp_path / "out"
    folder.mkdir()
    model = foreign.decoder(folder, rope_parameters=SCALINGS[kind])
    tokens = words(120)
    expected = logits(model, tokens)
    ours = read_llama(folder)
    assert np.abs(ours.logits(tokens) - expected).max() < 1e-4
    assert np.abs(replace(ours, scaling=RotaryScaling(Fraction(1))).logits(tokens) - expected).max() > 0.1
    config = json.loads((folder / "config.json").read_text())
    scaling = config.pop("rope_parameters")
    old = config | {"rope_theta": scaling.pop("rope_theta"), "rope_scaling": scaling}
    (folder / "config.json").write_text(json.dumps(old))
    assert np.array_equal(read_llama(folder).logits(tokens), ours.logits(tokens))
    near(import_model(folder, out, ImportOptions(positions=SHORT), CPU, progress=lambda _: None))
    table = load_artifact(out).weights.array(TURN)
    assert len(table) == SHORT and not np.array_equal(table, rotary_table(SHORT, 16, ours.base))


def test_a_scaling_that_is_not_read_is_named(tmp_path: Path) -> None:
    foreign.decoder(tmp_path, rope_parameters={"rope_type": "yarn", "factor": 4.0, "rope_theta": 10000.0})
    with pytest.raises(ModelImportError, match="UNSUPPORTED: rotary scaling 'yarn': it scales attention"):
        read_llama(tmp_path)


@pytest.mark.parametrize(
    "changes",
    [{"head_dim": 32}, {"head_dim": 8, "tie_word_embeddings": True}, {"num_key_value_heads": 4}],
    ids=["wide heads", "narrow heads, tied", "a key for every query"],
)
def test_heads_of_other_sizes(tmp_path: Path, changes: dict[str, Any]) -> None:
    folder = tmp_path / "tiny"
    folder.mkdir()
    model = foreign.decoder(folder, **changes)
    tokens = words(60)
    assert np.abs(read_llama(folder).logits(tokens) - logits(model, tokens)).max() < 1e-4
    options = ImportOptions(positions=SHORT)
    near(import_model(folder, tmp_path / "out", options, CPU, progress=lambda _: None))


def near(artifact: Artifact) -> None:
    """Within 1 % of perplexity and 0.99 of cosine."""
    found = artifact.accuracy
    assert found is not None
    assert abs(found.perplexity_ratio - 1) < 0.01
    assert found.cosine > 0.99


@pytest.mark.parametrize(
    "changes",
    [{}, {"hidden_act": "gelu_new", "type_vocab_size": 1}, {"hidden_act": "relu", "type_vocab_size": 4}],
    ids=["plain", "tanh", "relu"],
)
def test_an_encoder(tmp_path: Path, changes: dict[str, Any]) -> None:
    model = foreign.encoder(tmp_path, **changes)
    ours = read_bert(tmp_path)
    tokens = words(40)
    first = 15 if ours.shape.segments == 2 else 40
    kinds = torch.tensor([[int(place >= first) for place in range(40)]])
    with torch.no_grad():
        found = model(torch.from_numpy(tokens)[None], token_type_ids=kinds)
    states = ours.states(tokens, first=first)
    assert np.abs(states - found.last_hidden_state[0].numpy()).max() < 2e-4
    assert np.abs(ours.answer(states, Pooling.POOLER) - found.pooler_output.numpy()).max() < 1e-4


def test_places_of_roberta_begin_after_its_padding(tmp_path: Path) -> None:
    config = foreign.transformers.RobertaConfig(
        vocab_size=90, hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2,
        max_position_embeddings=50, type_vocab_size=1, pad_token_id=1, initializer_range=0.3,
    )  # fmt: skip
    torch.manual_seed(1)
    model = foreign.transformers.RobertaModel(config, add_pooling_layer=False).eval()
    model.save_pretrained(tmp_path)
    ours = read_bert(tmp_path)
    assert (ours.shape.positions, ours.shape.pooler) == (48, False)
    tokens = words(48, 88) + 2
    with torch.no_grad():
        expected = model(torch.from_numpy(tokens)[None]).last_hidden_state[0].numpy()
    assert np.abs(ours.states(tokens) - expected).max() < 2e-4
    with pytest.raises(ModelImportError, match="49 positions of a model for 48"):
        read_bert(tmp_path, positions=49)


@pytest.mark.parametrize("headed", [False, True])
def test_an_encoder_without_segments_and_pooler(tmp_path: Path, headed: bool) -> None:
    """DistilBERT, alone and with a head for guessing words beside it."""
    folder = tmp_path / "tiny"
    model = foreign.small_encoder(folder, headed=headed)
    ours = read_bert(folder)
    assert (ours.shape.segments, ours.shape.pooler, ours.shape.positions) == (1, False, 128)
    tokens = words(60)
    with torch.no_grad():
        expected = model(torch.from_numpy(tokens)[None]).last_hidden_state[0].numpy()
    assert np.abs(ours.states(tokens) - expected).max() < 2e-4
    options = ImportOptions(positions=SHORT)
    found = import_model(folder, tmp_path / "out", options, CPU, progress=lambda _: None).accuracy
    assert found is not None and found.least_cosine > 0.99


def test_a_head_beside_the_encoder_is_passed_over(tmp_path: Path) -> None:
    """Models for guessing words keep the encoder under a prefix."""
    config = foreign.transformers.BertConfig(
        vocab_size=90, hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2,
        max_position_embeddings=50,
    )  # fmt: skip
    model = foreign.transformers.BertForMaskedLM(config).eval()
    model.save_pretrained(tmp_path)
    tokens = words(20, 90)
    with torch.no_grad():
        expected = model.bert(torch.from_numpy(tokens)[None]).last_hidden_state[0].numpy()
    ours = read_bert(tmp_path)
    assert not ours.shape.pooler
    assert np.abs(ours.states(tokens) - expected).max() < 2e-4


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_a_model_in_several_files_of_half_the_width(tmp_path: Path, dtype: str) -> None:
    model = foreign.decoder(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    model.to(getattr(torch, dtype)).save_pretrained(tmp_path, max_shard_size="60KB")
    index = json.loads((tmp_path / INDEX).read_text())
    assert len(set(index["weight_map"].values())) > 2
    tokens = words(30)
    read = foreign.transformers.LlamaForCausalLM.from_pretrained(tmp_path, dtype=torch.float32).eval()
    assert np.abs(read_llama(tmp_path).logits(tokens) - logits(read, tokens)).max() < 1e-4
    name, shard = next(iter(index["weight_map"].items()))
    others = set(index["weight_map"].values()) - {shard}
    for change, reason in [
        ({name: "../" + shard}, ImportReason.MALFORMED),
        ({name: "/etc/passwd"}, ImportReason.MALFORMED),
        ({name: 7}, ImportReason.MALFORMED),
        ({name: "model-9.safetensors"}, ImportReason.MISSING),
        ({name: sorted(others)[0]}, ImportReason.MISSING),
        ({"lm_head.weight": None}, ImportReason.MALFORMED),
        ({f"x {i}": f"s{i}.safetensors" for i in range(1025)}, ImportReason.OVERSIZE),
    ]:
        (tmp_path / INDEX).write_text(json.dumps({**index, "weight_map": index["weight_map"] | change}))
        with pytest.raises(ModelImportError) as caught:
            read_llama(tmp_path)
        assert caught.value.reason is reason, change


def test_an_imported_decoder_is_near_the_float_one(tmp_path: Path) -> None:
    folder = tmp_path / "tiny"
    folder.mkdir()
    foreign.decoder(folder)
    said: list[str] = []
    artifact = import_model(
        folder, tmp_path / "out", ImportOptions(positions=SHORT), CPU, progress=said.append
    )
    found = artifact.accuracy
    assert found is not None
    assert (artifact.manifest.name, artifact.family, artifact.ends) == ("tiny", "llama", (1,))
    assert found.tokens == 16 * SHORT
    assert abs(found.perplexity_ratio - 1) < 0.01
    assert found.cosine > 0.99
    assert len(found.layers) == 3 and max(found.layers) < 0.1
    assert len(said) == 4
    loaded = load_artifact(tmp_path / "out")
    tokens = loaded.codec.encode("import os")
    assert tokens[0] == 0
    assert loaded.codec.decode(tokens.tolist()) == "import os"


def test_an_imported_encoder_is_near_the_float_one(tmp_path: Path) -> None:
    folder = tmp_path / "tiny"
    folder.mkdir()
    model = foreign.encoder(folder)
    artifact = import_model(
        folder, tmp_path / "out", ImportOptions(positions=SHORT, name="e"), CPU, progress=lambda _: None
    )
    found = artifact.accuracy
    assert found is not None
    assert found.least_cosine > 0.999
    assert max(found.layers) < 0.05
    loaded = load_artifact(tmp_path / "out")
    texts = ["The import statement", "a mill by the river"]
    vectors = np.array(embed(loaded, texts, CPU))
    for text, vector in zip(texts, vectors, strict=True):
        ids = torch.from_numpy(loaded.codec.encode(text).astype(np.int64))[None]
        with torch.no_grad():
            expected = model(ids).last_hidden_state[0].mean(dim=0).numpy()
        assert float(vector @ expected) / np.linalg.norm(expected) > 0.999


@pytest.mark.slow
@pytest.mark.parametrize("family", ["decoder", "encoder"])
def test_trained_models_keep_their_accuracy(family: str) -> None:
    """Within 1 % of perplexity, 0.99 of cosine; minutes."""
    from tests.tools.importer.accuracy import measure

    found = measure(family, 300)
    assert found.perplexity_ratio < 1.01
    assert found.cosine > 0.99
    assert family == "decoder" or found.least_cosine > 0.99
