"""JSON files of a model folder, read within bounds: a number is a number, a count lies where it may."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from chain import json_text
from tools.importer.errors import ImportReason, ModelImportError

MAX_CONFIG_BYTES: Final = 1 << 20

_COUNTS: Final = {
    "vocab_size": 1 << 20,
    "hidden_size": 1 << 15,
    "num_hidden_layers": 256,
    "num_attention_heads": 1 << 10,
    "num_key_value_heads": 1 << 10,
    "head_dim": 1 << 10,
    "intermediate_size": 1 << 17,
    "max_position_embeddings": 1 << 17,
    "type_vocab_size": 1 << 10,
    "dim": 1 << 15,
    "n_layers": 256,
    "n_heads": 1 << 10,
    "hidden_dim": 1 << 17,
}
"""The greatest value of every count that is read; each is at least 1."""


def read_json(path: Path, *, most: int = MAX_CONFIG_BYTES) -> dict[str, Any]:
    """An object from a file.

    Raises:
        ModelImportError: MISSING; OVERSIZE if it is longer than `most` bytes; MALFORMED.
    """
    if not path.is_file():
        raise ModelImportError(ImportReason.MISSING, f"no file {path.name}")
    size = path.stat().st_size
    if size > most:
        raise ModelImportError(ImportReason.OVERSIZE, f"{size} bytes of {path.name}, at most {most}")
    try:
        found = json_text.read_json(path.read_bytes(), parse_constant=_no_number)
    except ValueError as error:
        raise ModelImportError(ImportReason.MALFORMED, f"{path.name}: {error}") from error
    if not isinstance(found, dict):
        raise ModelImportError(ImportReason.MALFORMED, f"{path.name} is no object")
    return found


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is no number")


def require_known(config: Mapping[str, Any], known: Mapping[str, tuple[Any, ...]]) -> None:
    """Refuse what a configuration says beyond what is understood.

    Args:
        config: as read.
        known: the values that a key may have; the first is meant when it is not there.

    Raises:
        ModelImportError: UNSUPPORTED.
    """
    for key, values in known.items():
        if config.get(key, values[0]) not in values:
            raise ModelImportError(
                ImportReason.UNSUPPORTED,
                f"{key} is {str(config[key])[:60]}, known are {', '.join(map(str, values))}",
            )


def count(config: Mapping[str, Any], key: str) -> int:
    """A count.

    Raises:
        ModelImportError: MISSING; OVERSIZE if it lies outside its bounds.
    """
    value = config.get(key)
    if type(value) is not int or not 1 <= value <= _COUNTS[key]:
        reason = ImportReason.MISSING if value is None else ImportReason.OVERSIZE
        raise ModelImportError(reason, f"{key} is {str(value)[:40]}, allowed are 1..{_COUNTS[key]}")
    return value


def epsilon(config: Mapping[str, Any], key: str, default: float) -> float:
    """What a norm adds to a mean of squares.

    Raises:
        ModelImportError: UNSUPPORTED.
    """
    value = config.get(key, default)
    if type(value) is not float or not 0 < value < 1:
        raise ModelImportError(ImportReason.UNSUPPORTED, f"{key} is {str(value)[:40]}")
    return value


def within(positions: int, most: int) -> int:
    """The longest text that the integer model shall read.

    Args:
        positions: what was asked for; 0 for as many as there are.
        most: what the model was made for.

    Raises:
        ModelImportError: SHAPE.
    """
    if not 0 <= positions <= most:
        raise ModelImportError(ImportReason.SHAPE, f"{positions} positions of a model for {most}")
    return positions or most
