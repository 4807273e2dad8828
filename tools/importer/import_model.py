"""A folder with a foreign model, turned into an artifact: read, rounded, compared with itself, written."""

import pydoc_data.topics
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from blake3 import blake3

from pouw.backends.backend import Backend
from pouw.models.bert import BertManifest, Pooling
from pouw.models.bert_quantise import quantise_bert
from pouw.models.byte_text import VOCABULARY
from pouw.models.llama import LlamaManifest
from pouw.models.llama_quantise import quantise
from pouw.tensors import Array
from tools.importer.bert_folder import ENCODERS, read_bert
from tools.importer.config_file import read_json
from tools.importer.errors import ImportReason, ModelImportError
from tools.importer.llama_folder import read_llama
from tools.importer.report import measure_decoder, measure_encoder
from tools.models.artifact import Artifact, FileId, Provenance, file_id, write_artifact
from tools.models.text_codec import TOKENIZER, ByteCodec, FileCodec, TextCodec

LONGEST: Final = 256
"""Tokens of a text that sets scales or measures."""

FOR_SCALES: Final = 48
FOR_MEASURING: Final = 16
"""How many such texts, at most."""

_CHARACTERS: Final = 24
"""A tokenizer rarely takes more for a token; so much of the sample is looked at for each."""

_SCHEME: Final = "int8 by channel, static scales, smoothing 0.5, residual stream of 16 or 24 bits"

_DECODER: Final = "llama"
_KNOWN: Final = ", ".join((_DECODER, *ENCODERS))

_OTHER_TEXT: Final = "name a longer file of plain UTF-8 text with --text, or leave --text out"

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """What whoever imports may choose.

    Args:
        name: of the model; the folder's name if it is empty.
        positions: longest text; 0 for all that the model was made for.
        pooling: what an encoder answers.
        text: a file of text like that which the model will read; None for the documentation that comes with
            Python.
    """

    name: str = ""
    positions: int = 0
    pooling: Pooling = Pooling.MEAN
    text: Path | None = None


def import_model(
    folder: Path, out: Path, options: ImportOptions, backend: Backend, *, progress: Progress
) -> Artifact:
    """Import a model.

    Args:
        folder: of the Llama or the BERT family.
        out: where the artifact shall be; must not exist.
        options: see there.
        backend: where the integer model is run to be measured.
        progress: is told what happens.

    Raises:
        ModelImportError: any reason.
        ProgramError: the model cannot be computed exactly.
        FileExistsError: there is something at `out`.
    """
    if out.exists():
        raise FileExistsError(f"{out} exists")
    if not folder.is_dir():
        raise ModelImportError(ImportReason.MISSING, f"no folder {folder}")
    config = read_json(folder / "config.json")
    kind = _kind(config)
    name = options.name or folder.resolve().name
    tokenizer = folder / TOKENIZER if (folder / TOKENIZER).is_file() else None
    text = sample_text(options.text)
    llama: LlamaManifest | None = None
    bert: BertManifest | None = None
    if kind == _DECODER:
        progress("reading the model")
        decoder = read_llama(folder, positions=options.positions)
        samples = _samples(tokenizer, decoder.shape.vocabulary, decoder.shape.positions, text)
        progress(f"measuring scales on {len(samples.scales)} texts, rounding the weights")
        llama, weights = quantise(decoder, samples.scales, name=name)
        progress(f"comparing both models on {len(samples.measured)} other texts")
        accuracy = measure_decoder(decoder, llama, weights, samples.measured, backend)
    else:
        progress("reading the model")
        encoder = read_bert(folder, positions=options.positions)
        samples = _samples(tokenizer, encoder.shape.vocabulary, encoder.shape.positions, text)
        progress(f"measuring scales on {len(samples.scales)} texts, rounding the weights")
        bert, weights = quantise_bert(encoder, samples.scales, name=name, pooling=options.pooling)
        progress(f"comparing both models on {len(samples.measured)} other texts")
        accuracy = measure_encoder(encoder, bert, weights, samples.measured, backend)
    artifact = Artifact(
        llama=llama,
        bert=bert,
        tokenizer=None if tokenizer is None else file_id(tokenizer),
        ends=_ends(config) if llama else (),
        source=Provenance(file_id(folder / "config.json"), _text_id(text), _SCHEME),
        accuracy=accuracy,
    )
    progress(f"writing {out}")
    write_artifact(out, artifact, weights, tokenizer=tokenizer)
    return artifact


def _kind(config: Mapping[str, object]) -> object:
    """The model's own word of what it is."""
    kind = config.get("model_type")
    if kind is None:
        raise ModelImportError(
            ImportReason.MISSING,
            "config.json has no model_type",
            next_step=f"add it as the model's own page says; known are {_KNOWN}",
        )
    if kind not in (_DECODER, *ENCODERS):
        raise ModelImportError(
            ImportReason.UNSUPPORTED,
            f"model_type is {str(kind)[:60]}, known are {_KNOWN}",
            next_step="choose a model of one of these types",
        )
    return kind


def sample_text(path: Path | None) -> str:
    """Text from a file, or the documentation that comes with Python.

    Raises:
        ModelImportError: MISSING; MALFORMED if it is no text.
    """
    if path is None:
        topics = pydoc_data.topics.topics
        return "\n".join(topics[key] for key in sorted(topics))
    try:
        with path.open(encoding="utf-8") as file:
            return file.read(_CHARACTERS * LONGEST * (FOR_SCALES + FOR_MEASURING))
    except FileNotFoundError as error:
        raise ModelImportError(ImportReason.MISSING, f"no file {path}", next_step=_OTHER_TEXT) from error
    except UnicodeDecodeError as error:
        raise ModelImportError(
            ImportReason.MALFORMED, f"{path} is no text: {error}", next_step=_OTHER_TEXT
        ) from error


@dataclass(frozen=True, slots=True)
class Samples:
    """Texts as tokens: those that set the scales, and others that measure."""

    scales: list[Array]
    measured: list[Array]


def _samples(tokenizer: Path | None, vocabulary: int, positions: int, text: str) -> Samples:
    codec = _codec(tokenizer, vocabulary)
    length = min(LONGEST, positions)
    count = FOR_SCALES + FOR_MEASURING
    # Pieces from all over the text, each cut to length on its own: a tokenizer marks where a text begins.
    step = max(len(text) // count, 1)
    pieces = [text[start : start + min(step, _CHARACTERS * length)] for start in range(0, len(text), step)]
    texts = [codec.encode(piece)[:length] for piece in pieces[:count]]
    texts = [piece for piece in texts if len(piece) >= 2]
    measured = texts[3::4][:FOR_MEASURING]
    scales = [piece for number, piece in enumerate(texts) if number % 4 != 3][:FOR_SCALES]
    if len(measured) < 2:
        raise ModelImportError(
            ImportReason.MISSING,
            f"{len(texts)} pieces of text of two tokens or more, at least 8 are needed",
            next_step=_OTHER_TEXT,
        )
    return Samples(scales, measured)


def _codec(tokenizer: Path | None, vocabulary: int) -> TextCodec:
    if tokenizer is not None:
        return FileCodec(tokenizer, vocabulary=vocabulary)
    if vocabulary == VOCABULARY:
        return ByteCodec()
    raise ModelImportError(
        ImportReason.MISSING,
        f"no file {TOKENIZER}, and {vocabulary} tokens are not the {VOCABULARY} bytes",
        next_step=f"put the model's own {TOKENIZER} into the folder",
    )


def _ends(config: dict[str, object]) -> tuple[int, ...]:
    value = config.get("eos_token_id")
    found = value if isinstance(value, list) else [value]
    return tuple(sorted({token for token in found if type(token) is int and 0 <= token < 1 << 20}))


def _text_id(text: str) -> FileId:
    data = text.encode()
    return FileId(len(data), blake3(data).digest())
