"""Integer tensors in a safetensors file, mapped into memory when they are read.

Wide types come first and the data starts at a multiple of 64, so that every tensor lies where its type wants
it.
"""

import json
import mmap
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np

from pouw.tensors import Array, DType, TensorSpec
from pouw.weights import spec_of
from tools.importer.errors import ImportReason, ModelImportError
from tools.importer.safetensors import read_header

_NAMES: Final = {DType.INT8: "I8", DType.INT16: "I16", DType.INT32: "I32", DType.INT64: "I64"}

_ALIGNMENT: Final = 64


def write_tensors(path: Path, arrays: Mapping[str, Array]) -> None:
    """Write a file.

    Args:
        path: where; replaced if there is one.
        arrays: 2-D integers, by name.
    """
    specs = {name: spec_of(array) for name, array in arrays.items()}
    order = sorted(specs, key=lambda name: -specs[name].dtype.size)
    header: dict[str, object] = {}
    place = 0
    for name in order:
        spec, size = specs[name], arrays[name].nbytes
        header[name] = {
            "dtype": _NAMES[spec.dtype],
            "shape": [spec.rows, spec.cols],
            "data_offsets": [place, place + size],
        }
        place += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-(8 + len(text)) % _ALIGNMENT)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little"))
        file.write(text)
        for name in order:
            file.write(np.ascontiguousarray(arrays[name]).data)


def map_tensors(path: Path, specs: Mapping[str, TensorSpec]) -> dict[str, Array]:
    """The tensors of a file, read-only, without reading them.

    Args:
        path: the file.
        specs: exactly what it must hold.

    Raises:
        ModelImportError: MISSING, MALFORMED, OVERSIZE, UNSUPPORTED from the header; SHAPE if it holds other
            tensors.
    """
    stored = read_header(path)
    if set(stored) != set(specs):
        odd = sorted(set(stored) ^ set(specs))[0]
        raise ModelImportError(
            ImportReason.SHAPE, f"{path.name} and the manifest differ in tensor {odd[:80]}"
        )
    for name, spec in specs.items():
        found = stored[name]
        if (found.dtype, found.shape) != (_NAMES[spec.dtype], (spec.rows, spec.cols)):
            raise ModelImportError(
                ImportReason.SHAPE,
                f"{name} is {found.dtype} {found.shape} in {path.name}, the manifest says {spec}",
            )
    with path.open("rb") as file:
        whole = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    return {
        name: np.frombuffer(whole, spec.dtype.numpy, spec.rows * spec.cols, stored[name].start).reshape(
            spec.rows, spec.cols
        )
        for name, spec in specs.items()
    }
