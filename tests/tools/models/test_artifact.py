"""Artifacts: what is loaded is what was written, or nothing is."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.pouw.llama_world import integer_llama
from tests.tools.importer.folders import pack
from tests.tools.models.world import DECODER, decoder, encoder
from tools.importer.errors import ImportReason, ModelImportError
from tools.models.artifact import MANIFEST, WEIGHTS, Artifact, load_artifact, read_artifact, write_artifact
from tools.models.records import RecordError
from tools.models.text_codec import TOKENIZER


@pytest.mark.parametrize("make", [decoder, encoder])
def test_an_artifact_comes_back(tmp_path: Path, make: object) -> None:
    assert callable(make)
    written = make(tmp_path / "deep" / "model")
    said: list[str] = []
    loaded = load_artifact(tmp_path / "deep" / "model", progress=said.append)
    assert loaded.artifact == written
    assert loaded.artifact.id == written.id
    assert said == [f"checking {len(written.manifest.weights)} tensors"]
    assert sorted(path.name for path in (tmp_path / "deep").iterdir()) == ["model"]


def test_tensors_are_mapped_and_not_copied(tmp_path: Path) -> None:
    decoder(tmp_path / "model")
    weights = load_artifact(tmp_path / "model").weights
    array = weights.array("head")
    assert not array.flags.writeable
    assert array.flags.aligned
    assert not array.flags.owndata
    with pytest.raises(ValueError, match="read-only"):
        array[0, 0] = 1
    with pytest.raises(ValueError, match="WRITEABLE"):
        array.setflags(write=True)


def test_an_artifact_is_named_by_all_of_it(tmp_path: Path) -> None:
    first = decoder(tmp_path / "model")
    assert first.llama is not None and first.source is not None
    others = [
        replace(first, ends=(1,)),
        replace(first, source=None),
        replace(first, accuracy=None),
        replace(first, llama=replace(first.llama, name="another")),
        replace(first, source=replace(first.source, scheme="another")),
    ]
    assert len({artifact.id for artifact in (first, *others)}) == 6
    assert decoder(tmp_path / "again").to_bytes() == first.to_bytes()
    with pytest.raises(RecordError):
        replace(first, llama=None)


def test_what_is_there_stays(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    with pytest.raises(FileExistsError):
        decoder(tmp_path / "model")
    assert list((tmp_path / "model").iterdir()) == []


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    manifest, weights = integer_llama(DECODER)
    with pytest.raises(FileNotFoundError):
        write_artifact(
            tmp_path / "model", Artifact(manifest, None, None, (), None, None), weights,
            tokenizer=tmp_path / "nothing",
        )  # fmt: skip
    assert list(tmp_path.iterdir()) == []


def reason_of(folder: Path) -> ImportReason:
    with pytest.raises(ModelImportError) as caught:
        load_artifact(folder)
    return caught.value.reason


def test_a_changed_tensor_is_found(tmp_path: Path) -> None:
    """Any byte of the data, at the start, in the middle, at the end."""
    decoder(tmp_path / "model")
    path = tmp_path / "model" / WEIGHTS
    data = path.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    for place in (start, (start + len(data)) // 2, len(data) - 1):
        spoilt = bytearray(data)
        spoilt[place] ^= 1
        path.write_bytes(spoilt)
        assert reason_of(tmp_path / "model") is ImportReason.MALFORMED
    path.write_bytes(data[:-1])
    assert reason_of(tmp_path / "model") is ImportReason.MALFORMED
    path.write_bytes(pack({"a": np.zeros((2, 2), np.float32)}))
    assert reason_of(tmp_path / "model") is ImportReason.SHAPE
    path.unlink()
    assert reason_of(tmp_path / "model") is ImportReason.MISSING


def test_tensors_of_another_model_are_refused(tmp_path: Path) -> None:
    decoder(tmp_path / "model")
    encoder(tmp_path / "other")
    (tmp_path / "other" / WEIGHTS).rename(tmp_path / "model" / WEIGHTS)
    assert reason_of(tmp_path / "model") is ImportReason.SHAPE


def test_values_beyond_their_interval_are_refused(tmp_path: Path) -> None:
    """The interval is what the proof of exactness rests on: the roots alone do not hold it."""
    manifest, weights = integer_llama(DECODER)
    first = manifest.weights[0]
    narrow = replace(manifest, weights=(replace(first, low=-1, high=1), *manifest.weights[1:]))
    write_artifact(tmp_path / "model", Artifact(narrow, None, None, (), None, None), weights)
    with pytest.raises(ModelImportError, match=r"its interval is -1\.\.1"):
        load_artifact(tmp_path / "model")


@pytest.mark.parametrize(
    "change",
    [
        lambda _: "",
        lambda _: "[]",
        lambda _: "[" * 50000,
        lambda text: text[:-2],
        lambda text: text + " ",
        lambda text: text.replace('"format":1', '"format":2'),
        lambda text: text.replace('"final_shift":21', '"final_shift":22'),
        lambda text: text.replace('"final_shift":21', '"final_shift":"21"'),
        lambda text: text.replace('"final_shift":21', '"final_shift":21,"more":1'),
        lambda text: text.replace('"family"', '"familie"').replace('"ends"', '"end"'),
        lambda text: text.replace('"layers":1', '"layers":2'),
        lambda text: text.replace("0.750000", "0.75"),
        lambda text: json.dumps(json.loads(text), indent=1),
    ],
)  # fmt: skip
def test_another_manifest_is_refused(tmp_path: Path, change: object) -> None:
    decoder(tmp_path / "model")
    path = tmp_path / "model" / MANIFEST
    assert callable(change)
    changed = change(path.read_text())
    assert changed != path.read_text()
    path.write_text(changed)
    with pytest.raises(ModelImportError) as caught:
        read_artifact(tmp_path / "model")
    assert caught.value.reason is ImportReason.MALFORMED


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    assert reason_of(tmp_path) is ImportReason.MISSING
    with (tmp_path / MANIFEST).open("wb") as file:
        file.truncate((64 << 20) + 1)
    assert reason_of(tmp_path) is ImportReason.OVERSIZE


def test_another_tokenizer_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("tokenizers")
    from tools.models.artifact import file_id

    manifest, weights = integer_llama(DECODER)
    source = tmp_path / "source.json"
    source.write_text(
        '{"version":"1.0","model":{"type":"WordLevel","vocab":{"mill":1,"[UNK]":0},"unk_token":"[UNK]"}}'
    )
    artifact = Artifact(manifest, None, file_id(source), (), None, None)
    write_artifact(tmp_path / "model", artifact, weights, tokenizer=source)
    assert load_artifact(tmp_path / "model").codec.encode("mill").tolist() == [1]
    path = tmp_path / "model" / TOKENIZER
    path.write_text(path.read_text() + " ")
    assert reason_of(tmp_path / "model") is ImportReason.MALFORMED
    path.unlink()
    assert reason_of(tmp_path / "model") is ImportReason.MALFORMED
