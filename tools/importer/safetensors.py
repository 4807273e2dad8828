"""Reading safetensors files: a length, a JSON header, and the bytes of the tensors; nothing is ever executed.

Everything that the header claims is compared with the size of the file before a single tensor is allocated:
types, shapes, offsets, and that the tensors tile the data without gap or overlap, as the format demands.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from chain.json_text import read_json
from tools.importer.errors import ImportReason, ModelImportError

MAX_HEADER_BYTES: Final = 16 << 20
"""The format's own limit is 100 MB; a model of a thousand layers needs about one."""

MAX_DIMENSIONS: Final = 4

_SIZES: Final = {
    "F32": 4, "F16": 2, "BF16": 2, "F64": 8, "BOOL": 1,
    "I8": 1, "U8": 1, "I16": 2, "U16": 2, "I32": 4, "U32": 4, "I64": 8, "U64": 8,
}  # fmt: skip
"""Bytes of a value of every type that may lie in a file."""

_FLOATS: Final = ("F32", "F16", "BF16")
"""Those that are read."""

_OTHER_TYPE: Final = f"save the model with values of type {', '.join(_FLOATS)}"


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """Where a tensor lies in a file.

    Args:
        dtype: F32, F16 and BF16 can be read as floats; others are only listed.
        shape: its dimensions.
        start: first byte, from the start of the file.
        size: bytes.
    """

    dtype: str
    shape: tuple[int, ...]
    start: int
    size: int


class TensorFile:
    """A safetensors file whose header has been checked.

    Args:
        path: the file.

    Raises:
        ModelImportError: MISSING, MALFORMED, OVERSIZE, UNSUPPORTED.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.tensors = read_header(path)

    def read(self, name: str) -> NDArray[np.float32]:
        """A tensor, as float32.

        Raises:
            ModelImportError: MISSING; UNSUPPORTED of another type; MALFORMED if a value is no number.
        """
        stored = self.tensors.get(name)
        if stored is None:
            raise ModelImportError(ImportReason.MISSING, f"no tensor {name} in {self._path.name}")
        if stored.dtype not in _FLOATS:
            raise ModelImportError(
                ImportReason.UNSUPPORTED,
                f"{name} is of type {stored.dtype}, read are {', '.join(_FLOATS)}",
                next_step=_OTHER_TYPE,
            )
        with self._path.open("rb") as file:
            file.seek(stored.start)
            data = file.read(stored.size)
        values = _floats(stored.dtype, data)
        if not np.isfinite(values).all():
            raise ModelImportError(ImportReason.MALFORMED, f"{name} holds infinities, or what is no number")
        return values.reshape(stored.shape)


def read_header(path: Path) -> dict[str, StoredTensor]:
    """Where a file's tensors lie.

    Raises:
        ModelImportError: MISSING, MALFORMED, OVERSIZE, UNSUPPORTED.
    """
    if not path.is_file():
        raise ModelImportError(ImportReason.MISSING, f"no file {path.name}")
    total = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > MAX_HEADER_BYTES:
            raise ModelImportError(
                ImportReason.OVERSIZE,
                f"{path.name} has a header of {length} bytes, at most {MAX_HEADER_BYTES}",
            )
        if total < 8 + length:
            raise ModelImportError(
                ImportReason.MALFORMED, f"{path.name} has a header of {length} bytes in a file of {total}"
            )
        raw = file.read(length)
    try:
        header = read_json(raw, size=total, object_pairs_hook=_unique)
    except ValueError as error:
        raise ModelImportError(ImportReason.MALFORMED, f"the header of {path.name}: {error}") from error
    if not isinstance(header, dict):
        raise ModelImportError(ImportReason.MALFORMED, f"the header of {path.name} is no object")
    header.pop("__metadata__", None)
    tensors = {name: _stored(name, entry, 8 + length) for name, entry in header.items()}
    _check_tiling(tensors, path.name, start=8 + length, end=total)
    return tensors


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name twice")
    return found


def _stored(name: str, entry: object, base: int) -> StoredTensor:
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise ModelImportError(ImportReason.MALFORMED, f"{name} is described by {str(entry)[:80]}")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in _SIZES:
        raise ModelImportError(
            ImportReason.UNSUPPORTED,
            f"{name} is of type {str(dtype)[:20]}, known are {', '.join(_SIZES)}",
            next_step=_OTHER_TYPE,
        )
    if not _counts(shape) or len(shape) > MAX_DIMENSIONS or not _counts(offsets) or len(offsets) != 2:
        raise ModelImportError(
            ImportReason.MALFORMED, f"{name} of shape {str(shape)[:80]} at {str(offsets)[:80]}"
        )
    size = _SIZES[dtype]
    for length in shape:
        size *= length
    if offsets[1] - offsets[0] != size:
        raise ModelImportError(
            ImportReason.MALFORMED, f"{name} lies at {offsets}, its shape takes {size} bytes"
        )
    return StoredTensor(dtype, tuple(shape), base + offsets[0], size)


def _counts(value: object) -> bool:
    return isinstance(value, list) and all(type(n) is int and 0 <= n < 1 << 48 for n in value)


def _check_tiling(tensors: dict[str, StoredTensor], file: str, *, start: int, end: int) -> None:
    place = start
    for name, stored in sorted(tensors.items(), key=lambda item: (item[1].start, item[1].size)):
        if stored.start != place:
            raise ModelImportError(
                ImportReason.MALFORMED,
                f"{name} starts at byte {stored.start}, the one before ends at {place}",
            )
        place += stored.size
    if place != end:
        raise ModelImportError(
            ImportReason.MALFORMED, f"the tensors of {file} end at byte {place}, the file at {end}"
        )


def _floats(dtype: str, data: bytes) -> NDArray[np.float32]:
    if dtype == "BF16":
        return (np.frombuffer(data, "<u2").astype(np.uint32) << 16).view(np.float32)
    kind = "<f4" if dtype == "F32" else "<f2"
    return np.frombuffer(data, kind).astype(np.float32)
