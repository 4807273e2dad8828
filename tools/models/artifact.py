"""A model on disk: a manifest that names everything by its content, the tensors, and the tokenizer's file.

    manifest.json         canonical JSON; its hash is the artifact's id
    weights.safetensors   every tensor of the model, as integers
    tokenizer.json        the model's own, if it has one

The manifest holds the chain's model id, which follows from its constants and the tensors' roots; each tensor
is compared with its root when it is loaded. A folder appears whole or not at all.
"""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from blake3 import blake3

from chain.json_text import read_json
from pouw.models.bert import BertManifest
from pouw.models.llama import LlamaManifest
from pouw.tensors import TensorSpec
from pouw.weights import Weights
from tools.importer.errors import ImportReason, ModelImportError
from tools.models.records import RecordError, read_record, write_record
from tools.models.tensor_store import map_tensors, write_tensors
from tools.models.text_codec import TOKENIZER, ByteCodec, FileCodec, TextCodec

FORMAT: Final = 1
MANIFEST: Final = "manifest.json"
WEIGHTS: Final = "weights.safetensors"

MAX_MANIFEST_BYTES: Final = 64 << 20

_ARTIFACT: Final = "headrace 2026-11 model artifact"

Manifest = LlamaManifest | BertManifest


@dataclass(frozen=True, slots=True)
class FileId:
    """A file by its content.

    Args:
        size: bytes.
        blake3: 32 bytes.
    """

    size: int
    blake3: bytes


@dataclass(frozen=True, slots=True)
class Accuracy:
    """How far the integer model was from the float one on text that set no scale.

    Args:
        tokens: how many were looked at.
        float_loss: natural logarithm of the float model's perplexity; 0 of an encoder.
        integer_loss: of the integer model's; 0 of an encoder.
        perplexity_ratio: of the integer model to the float model; 1 of an encoder.
        cosine: mean between both models' logits of every position, or embeddings of every text.
        least_cosine: of the worst of them.
        agreement: share of positions where both choose the same token, or of texts whose nearest other text
            is the same.
        layers: relative error of the residual stream before every layer and after the last.
    """

    tokens: int
    float_loss: float
    integer_loss: float
    perplexity_ratio: float
    cosine: float
    least_cosine: float
    agreement: float
    layers: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Provenance:
    """What a model was made of.

    Args:
        config: the folder's config.json.
        text: what set the scales and measured the accuracy.
        scheme: how floats became integers.
    """

    config: FileId
    text: FileId
    scheme: str


@dataclass(frozen=True)
class Artifact:
    """What a manifest file says.

    Args:
        llama: of a decoder, or None.
        bert: of an encoder, or None.
        tokenizer: the tokenizer's file; None for one token a byte.
        ends: tokens that end an answer.
        source: what it was made of; None if it was made as integers.
        accuracy: None if there is no float model.
    """

    llama: LlamaManifest | None
    bert: BertManifest | None
    tokenizer: FileId | None
    ends: tuple[int, ...]
    source: Provenance | None
    accuracy: Accuracy | None

    def __post_init__(self) -> None:
        if (self.llama is None) == (self.bert is None):
            raise RecordError("$: one of llama and bert is due")

    @property
    def manifest(self) -> Manifest:
        """Of either family."""
        found = self.llama or self.bert
        assert found is not None
        return found

    @property
    def family(self) -> str:
        """Llama or bert, in lower case."""
        return "bert" if self.llama is None else "llama"

    def to_bytes(self) -> bytes:
        """The bytes of the manifest file."""
        return b"".join(self._pieces())

    def is_written_as(self, data: bytes) -> bool:
        """Whether these are the bytes of the manifest file; no second copy of them is made."""
        at = 0
        for piece in self._pieces():
            if not data.startswith(piece, at):
                return False
            at += len(piece)
        return at == len(data)

    def _pieces(self) -> Iterator[bytes]:
        document = {"format": FORMAT, "model_id": self.manifest.digest.hex(), "artifact": write_record(self)}
        for piece in json.JSONEncoder(sort_keys=True, separators=(",", ":")).iterencode(document):
            yield piece.encode()
        yield b"\n"

    @property
    def id(self) -> bytes:
        """Names the artifact: its model, its text codec and what is said of it."""
        return blake3(self.to_bytes(), derive_key_context=_ARTIFACT).digest()


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model whose every tensor was found to be what its manifest says."""

    artifact: Artifact
    weights: Weights
    codec: TextCodec


def file_id(path: Path) -> FileId:
    """Size and hash of a file."""
    digest = blake3()
    digest.update_mmap(path)
    return FileId(path.stat().st_size, digest.digest())


def write_artifact(out: Path, artifact: Artifact, weights: Weights, *, tokenizer: Path | None = None) -> None:
    """Write a folder, whole or not at all.

    Args:
        out: must not exist.
        artifact: the manifest.
        weights: its tensors.
        tokenizer: the file that the manifest names.

    Raises:
        FileExistsError: there is something at `out`.
        OSError: the disk refuses.
    """
    if out.exists():
        raise FileExistsError(f"{out} exists")
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(f".{out.name}.{os.getpid()}.partial")
    partial.mkdir()
    try:
        names = [weight.name for weight in artifact.manifest.weights]
        write_tensors(partial / WEIGHTS, {name: weights.array(name) for name in names})
        if tokenizer is not None:
            shutil.copyfile(tokenizer, partial / TOKENIZER)
        (partial / MANIFEST).write_bytes(artifact.to_bytes())
        for path in (*partial.iterdir(), partial):
            _to_disk(path)
        partial.rename(out)
        _to_disk(out.parent)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _to_disk(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read_artifact(folder: Path) -> Artifact:
    """Read a manifest file; the tensors are not looked at.

    Raises:
        ModelImportError: MISSING, OVERSIZE, MALFORMED.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise ModelImportError(ImportReason.MISSING, f"no {MANIFEST} in {folder}")
    if path.stat().st_size > MAX_MANIFEST_BYTES:
        raise ModelImportError(
            ImportReason.OVERSIZE, f"{path.stat().st_size} bytes of {MANIFEST}, at most {MAX_MANIFEST_BYTES}"
        )
    data = path.read_bytes()
    try:
        artifact = _parse(data)
    except ValueError as error:
        raise ModelImportError(ImportReason.MALFORMED, f"{MANIFEST}: {error}") from error
    if not artifact.is_written_as(data):
        raise ModelImportError(
            ImportReason.MALFORMED,
            f"{MANIFEST} is not in its one form, or its model id is not {artifact.manifest.digest.hex()}",
        )
    return artifact


def _parse(data: bytes) -> Artifact:
    document = read_json(data)
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise RecordError(f"$.format: {FORMAT} is due")
    return read_record(Artifact, document.get("artifact"), path="$.artifact")


def load_artifact(folder: Path, *, progress: Callable[[str], None] = lambda _line: None) -> LoadedModel:
    """Map a model's tensors and compare each with its root.

    Args:
        folder: as `write_artifact` makes it.
        progress: is told what happens.

    Raises:
        ModelImportError: any reason; MALFORMED if a tensor or the tokenizer is not what the manifest names.
    """
    artifact = read_artifact(folder)
    manifest = artifact.manifest
    specs: dict[str, TensorSpec] = {weight.name: weight.spec for weight in manifest.weights}
    weights = Weights(map_tensors(folder / WEIGHTS, specs))
    progress(f"checking {len(specs)} tensors")
    for weight in manifest.weights:
        root = weights.tree(weight.name).root
        if root != weight.root:
            raise ModelImportError(
                ImportReason.MALFORMED,
                f"{weight.name} has root {root.hex()}, the manifest says {weight.root.hex()}",
            )
        low, high = int(weights.array(weight.name).min()), int(weights.array(weight.name).max())
        if low < weight.low or high > weight.high:
            raise ModelImportError(
                ImportReason.MALFORMED,
                f"{weight.name} holds {low}..{high}, its interval is {weight.low}..{weight.high}",
            )
    if artifact.tokenizer is None:
        return LoadedModel(artifact, weights, ByteCodec())
    path = folder / TOKENIZER
    if not path.is_file() or file_id(path) != artifact.tokenizer:
        raise ModelImportError(ImportReason.MALFORMED, f"{TOKENIZER} is not the one that the manifest names")
    return LoadedModel(artifact, weights, FileCodec(path, vocabulary=manifest.shape.vocabulary))
