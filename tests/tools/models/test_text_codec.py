"""Foreign tokenizer files: read within bounds, or refused with a reason."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tools.importer.errors import ImportReason, ModelImportError
from tools.models.text_codec import MAX_TEXT, MAX_TOKENIZER_BYTES, ByteCodec, FileCodec

pytest.importorskip("tokenizers")

WORDS: dict[str, Any] = {
    "version": "1.0",
    "pre_tokenizer": {"type": "Whitespace"},
    "model": {
        "type": "WordLevel",
        "vocab": {"[UNK]": 0, "a": 1, "mill": 2, "wheel": 300},
        "unk_token": "[UNK]",
    },
}


def codec(folder: Path, document: Any, *, vocabulary: int = 301) -> FileCodec:
    path = folder / "tokenizer.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return FileCodec(path, vocabulary=vocabulary)


def test_text_goes_in_and_out(tmp_path: Path) -> None:
    words = codec(tmp_path, WORDS)
    tokens = words.encode("a mill wheel turns")
    assert tokens.tolist() == [1, 2, 300, 0]
    assert tokens.dtype == np.dtype("<i2")
    assert words.decode([1, 2, 300]) == "a mill wheel"
    assert words.encode("").size == 0


def test_what_a_file_asks_for_beyond_its_tokens_is_left_out(tmp_path: Path) -> None:
    """Padding and cutting are the caller's."""
    padding = {
        "strategy": {"Fixed": 9}, "direction": "Right", "pad_to_multiple_of": None, "pad_id": 0,
        "pad_type_id": 0, "pad_token": "[UNK]",
    }  # fmt: skip
    cut = {"direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 0}
    words = codec(tmp_path, WORDS | {"padding": padding, "truncation": cut})
    assert words.encode("a mill a mill").tolist() == [1, 2, 1, 2]


def test_a_token_that_the_model_does_not_know_is_refused(tmp_path: Path) -> None:
    words = codec(tmp_path, WORDS, vocabulary=300)
    assert words.encode("a mill").tolist() == [1, 2]
    with pytest.raises(ModelImportError, match="MALFORMED: token 300 of a model that knows 300"):
        words.encode("wheel")


@pytest.mark.parametrize(
    "document",
    [
        "", "[]", "{}", '{"model":[]}', "[" * 100_000, '{"model":{"type":"WordLevel"}}', '{"model":{}}',
        WORDS | {"model": {"type": "Python", "code": "import os"}},
        WORDS | {"pre_tokenizer": {"type": "Exec"}},
        '{"model":' + '{"a":' * 70 + "1" + "}" * 71,
    ],
)  # fmt: skip
def test_a_file_that_is_none_is_refused(tmp_path: Path, document: Any) -> None:
    with pytest.raises(ModelImportError) as caught:
        codec(tmp_path, document)
    assert caught.value.reason is ImportReason.MALFORMED


PANICS = [
    {"version": "1.0", "model": {"type": "BPE", "vocab": {"a": 0, "b": 1}, "merges": ["a b"]}},
    WORDS | {"normalizer": {"type": "Precompiled", "precompiled_charsmap": "AAAA"}},
]


@pytest.mark.parametrize("document", PANICS)
def test_a_file_that_makes_the_library_panic_is_refused(tmp_path: Path, document: Any) -> None:
    with pytest.raises(ModelImportError, match="MALFORMED"):
        codec(tmp_path, document)


def test_a_file_that_fails_when_it_is_used_is_refused(tmp_path: Path) -> None:
    model = {"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "?"}
    words = codec(tmp_path, {"version": "1.0", "model": model})
    with pytest.raises(ModelImportError, match="MALFORMED"):
        words.encode("b")


def test_sizes_are_bounded(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    with pytest.raises(ModelImportError, match="MISSING"):
        FileCodec(path, vocabulary=9)
    with path.open("wb") as file:
        file.truncate(MAX_TOKENIZER_BYTES + 1)
    with pytest.raises(ModelImportError, match="OVERSIZE"):
        FileCodec(path, vocabulary=9)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ModelImportError, match="MALFORMED"):
        FileCodec(path, vocabulary=9)
    for each in (codec(tmp_path, WORDS), ByteCodec()):
        with pytest.raises(ModelImportError, match="OVERSIZE"):
            each.encode("a" * (MAX_TEXT + 1))


def test_bytes() -> None:
    tokens = ByteCodec().encode("Mühle")
    assert ByteCodec().decode(tokens.tolist()) == "Mühle"
