"""Text in and out of a model: by the model's own tokenizer.json, or byte by byte.

The file is foreign: its size and its depth are bounded before the library reads it, and a token beyond the
model's vocabulary is refused. It holds data and no code.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np

from pouw.models import byte_text
from pouw.tensors import Array, index_dtype
from tools.importer.errors import ImportReason, ModelImportError

TOKENIZER: Final = "tokenizer.json"

MAX_TOKENIZER_BYTES: Final = 64 << 20
"""The largest in wide use, of a vocabulary of 256,000, has 34 MB."""

_MAX_DEPTH: Final = 64

MAX_TEXT: Final = 1 << 22
"""Characters that are tokenized at a time: foreign patterns may take long over long texts."""


class TextCodec(Protocol):
    """Text to tokens and back."""

    def encode(self, text: str) -> Array:
        """The tokens of a text, [n], in the type of the model's input.

        Raises:
            ModelImportError: OVERSIZE if the text is too long; MALFORMED if the model lacks a token.
        """

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of tokens, without those that only mark something."""


class ByteCodec:
    """One token a byte."""

    def encode(self, text: str) -> Array:
        """See `TextCodec.encode`."""
        return byte_text.encode(_bounded(text))

    def decode(self, tokens: Sequence[int]) -> str:
        """See `TextCodec.decode`."""
        return byte_text.decode(np.array(tokens, np.int16))


class FileCodec:
    """A tokenizer.json, by the `tokenizers` library.

    Args:
        path: the file.
        vocabulary: of the model; every token must be below it.

    Raises:
        ModelImportError: MISSING, OVERSIZE, MALFORMED.
    """

    def __init__(self, path: Path, *, vocabulary: int) -> None:
        text = _checked(path)
        from tokenizers import Tokenizer  # a big library, which the byte-level models do without

        with _foreign():
            self._tokenizer = Tokenizer.from_str(text)
        # A file may ask for padding or for cutting; what is read here is read as it is.
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self._vocabulary = vocabulary
        self._dtype = index_dtype(vocabulary).numpy

    def encode(self, text: str) -> Array:
        """See `TextCodec.encode`."""
        whole = _bounded(text)
        with _foreign():
            ids: list[int] = self._tokenizer.encode(whole).ids
        beyond = next((token for token in ids if not 0 <= token < self._vocabulary), None)
        if beyond is not None:
            raise ModelImportError(
                ImportReason.MALFORMED, f"token {beyond} of a model that knows {self._vocabulary}"
            )
        return np.array(ids, self._dtype)

    def decode(self, tokens: Sequence[int]) -> str:
        """See `TextCodec.decode`."""
        with _foreign():
            text: str = self._tokenizer.decode([int(token) for token in tokens], skip_special_tokens=True)
        return text


@contextmanager
def _foreign() -> Iterator[None]:
    """What the library says of a file that it cannot work with.

    It raises bare exceptions, and where it did not foresee a file it panics, which Python sees as something
    that is not even an exception.
    """
    try:
        yield
    except BaseException as error:  # the library's panics are of a type of their own, known by name alone
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise ModelImportError(ImportReason.MALFORMED, f"{TOKENIZER}: {str(error)[:200]}") from error


def _bounded(text: str) -> str:
    if len(text) > MAX_TEXT:
        raise ModelImportError(ImportReason.OVERSIZE, f"a text of {len(text)} characters, at most {MAX_TEXT}")
    return text


def _checked(path: Path) -> str:
    if not path.is_file():
        raise ModelImportError(ImportReason.MISSING, f"no file {path.name}")
    size = path.stat().st_size
    if size > MAX_TOKENIZER_BYTES:
        raise ModelImportError(
            ImportReason.OVERSIZE, f"{size} bytes of {path.name}, at most {MAX_TOKENIZER_BYTES}"
        )
    try:
        text = path.read_bytes().decode()
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ModelImportError(ImportReason.MALFORMED, f"{path.name}: {str(error)[:200]}") from error
    if not isinstance(document, dict) or not isinstance(document.get("model"), dict):
        raise ModelImportError(ImportReason.MALFORMED, f"{path.name} describes no model of tokens")
    _check_depth(document, path.name)
    return text


def _check_depth(document: dict[str, Any], name: str) -> None:
    level: list[Any] = [document]
    for _ in range(_MAX_DEPTH):
        level = [
            child
            for value in level
            for child in (value.values() if isinstance(value, dict) else value)
            if isinstance(child, (dict, list))
        ]
        if not level:
            return
    raise ModelImportError(ImportReason.MALFORMED, f"{name} is nested deeper than {_MAX_DEPTH}")
