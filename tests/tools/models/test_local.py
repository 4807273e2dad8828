"""Asking artifacts: the answers of the programs that miners run, and of nothing else."""

from pathlib import Path

import numpy as np
import pytest

from pouw.backends.reference import ReferenceBackend
from pouw.models.decoder import generate
from pouw.models.llama import LlamaManifest
from pouw.models.token_sampling import Sampling
from tests.tools.models.world import decoder, encoder
from tools.importer.errors import ImportReason, ModelImportError
from tools.models.artifact import load_artifact
from tools.models.local import answer, cosine, embed

BACKEND = ReferenceBackend()


def test_a_decoder_writes_what_its_program_gives(tmp_path: Path) -> None:
    decoder(tmp_path / "model")
    model = load_artifact(tmp_path / "model")
    manifest = model.artifact.manifest
    assert isinstance(manifest, LlamaManifest)
    sampling = Sampling((b"7",), 256, 20, 900)
    for chosen in (None, sampling):
        got = answer(model, "a mill", count=9, sampling=chosen, backend=BACKEND)
        prompt = model.codec.encode("a mill")[None]
        expected = generate(manifest, model.weights, prompt, 9, BACKEND, sampling=chosen).tokens[0]
        assert list(got.tokens) == expected.tolist()
        assert (got.prompt, got.ended) == (6, False)
        assert got.text == model.codec.decode(got.tokens)


def test_an_end_ends_the_answer(tmp_path: Path) -> None:
    decoder(tmp_path / "free")
    free = answer(load_artifact(tmp_path / "free"), "mill", count=12, sampling=None, backend=BACKEND)
    end = free.tokens[5]
    decoder(tmp_path / "model", ends=(end,))
    got = answer(load_artifact(tmp_path / "model"), "mill", count=12, sampling=None, backend=BACKEND)
    cut = free.tokens.index(end) + 1
    assert (got.tokens, got.ended) == (free.tokens[:cut], True)


def test_an_answer_ends_where_the_positions_do(tmp_path: Path) -> None:
    decoder(tmp_path / "model")
    model = load_artifact(tmp_path / "model")
    assert len(answer(model, "a" * 38, count=99, sampling=None, backend=BACKEND).tokens) == 3
    for text in ("", "a" * 41):
        with pytest.raises(ModelImportError) as caught:
            answer(model, text, count=1, sampling=None, backend=BACKEND)
        assert caught.value.reason is ImportReason.SHAPE
    with pytest.raises(ModelImportError, match="is a decoder, it gives no vectors"):
        embed(model, ["a"], BACKEND)


def test_an_encoder_gives_vectors_that_do_not_depend_on_company(tmp_path: Path) -> None:
    encoder(tmp_path / "model")
    model = load_artifact(tmp_path / "model")
    texts = ["a mill", "a river by the mill", "x"]
    together = embed(model, texts, BACKEND)
    assert together == [embed(model, [text], BACKEND)[0] for text in texts]
    assert np.allclose([cosine(vector, vector) for vector in together], 1)
    for bad in (["a", ""], ["a" * 41]):
        with pytest.raises(ModelImportError) as caught:
            embed(model, bad, BACKEND)
        assert caught.value.reason is ImportReason.SHAPE
    with pytest.raises(ModelImportError, match="is an encoder, it writes no text"):
        answer(model, "a", count=1, sampling=None, backend=BACKEND)
