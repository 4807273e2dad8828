"""The tensors of a model folder: one safetensors file, or several with an index."""

import re
from pathlib import Path
from typing import Final

from pouw.models.llama_float import Floats
from tools.importer.config_file import read_json
from tools.importer.errors import ImportReason, ModelImportError
from tools.importer.safetensors import TensorFile

SINGLE: Final = "model.safetensors"
INDEX: Final = "model.safetensors.index.json"

MAX_INDEX_BYTES: Final = 16 << 20
MAX_SHARDS: Final = 1024
MAX_PARAMETERS: Final = 1 << 36

_PLAIN_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,200}\.safetensors\Z")


_PICKLED: Final = "pytorch_model.bin"

_NOT_ONE_MODEL: Final = "config.json and the tensors are not of one model: fetch all of its files again"


class TensorFolder:
    """All tensors of a folder; every header has been checked, no tensor has been read.

    Args:
        folder: holds `model.safetensors`, or its index and the files that this names.

    Raises:
        ModelImportError: MISSING, MALFORMED, OVERSIZE.
    """

    def __init__(self, folder: Path) -> None:
        if (folder / SINGLE).is_file() or not (folder / INDEX).is_file():
            _require_safe(folder)
            whole = TensorFile(folder / SINGLE)
            self._files = dict.fromkeys(whole.tensors, whole)
        else:
            self._files = _sharded(folder)

    def __contains__(self, name: str) -> bool:
        return name in self._files

    def require(self, expected: dict[str, tuple[int, ...]]) -> None:
        """Compare names and shapes before any tensor is read.

        Args:
            expected: the shape of each tensor.

        Raises:
            ModelImportError: MISSING, SHAPE; OVERSIZE if all together are too many values.
        """
        total = 0
        for name, wanted in expected.items():
            if name not in self._files:
                raise ModelImportError(ImportReason.MISSING, f"no tensor {name}", next_step=_NOT_ONE_MODEL)
            found = self._files[name].tensors[name].shape
            if found != wanted:
                raise ModelImportError(
                    ImportReason.SHAPE,
                    f"{name} is {found}, the configuration says {wanted}",
                    next_step=_NOT_ONE_MODEL,
                )
            size = 1
            for length in wanted:
                size *= length
            total += size
        if total > MAX_PARAMETERS:
            raise ModelImportError(ImportReason.OVERSIZE, f"{total} parameters, at most {MAX_PARAMETERS}")

    def read(self, name: str) -> Floats:
        """A tensor, as float32.

        Raises:
            ModelImportError: MISSING, UNSUPPORTED, MALFORMED.
        """
        if name not in self._files:
            raise ModelImportError(ImportReason.MISSING, f"no tensor {name}")
        return self._files[name].read(name)


def _require_safe(folder: Path) -> None:
    if (folder / SINGLE).is_file() or not any(folder.glob(f"{Path(_PICKLED).stem}*")):
        return
    raise ModelImportError(
        ImportReason.MISSING,
        f"no file {SINGLE}, and {_PICKLED} is never opened, since it can hold code",
        next_step="fetch the model in safetensors, or save it again with save_pretrained of transformers",
    )


def _sharded(folder: Path) -> dict[str, TensorFile]:
    places = read_json(folder / INDEX, most=MAX_INDEX_BYTES).get("weight_map")
    if not isinstance(places, dict) or not all(isinstance(shard, str) for shard in places.values()):
        raise ModelImportError(ImportReason.MALFORMED, f"{INDEX} has no weight_map")
    shards = sorted(set(places.values()))
    if len(shards) > MAX_SHARDS:
        raise ModelImportError(ImportReason.OVERSIZE, f"{len(shards)} files, at most {MAX_SHARDS}")
    # A name is looked for in the folder alone: never outside of it.
    odd = next((shard for shard in shards if not _PLAIN_NAME.match(shard)), None)
    if odd is not None:
        raise ModelImportError(ImportReason.MALFORMED, f"{INDEX} names a file {odd[:80]!r}")
    files = {shard: TensorFile(folder / shard) for shard in shards}
    for name, shard in places.items():
        if name not in files[shard].tensors:
            raise ModelImportError(
                ImportReason.MISSING, f"no tensor {name[:80]} in {shard}, where the index puts it"
            )
    return {name: files[shard] for name, shard in places.items()}
