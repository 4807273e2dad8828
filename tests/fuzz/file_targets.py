"""Files that somebody hands over, and the signing guard's log, which a broken disk may have changed."""

import json
import os
import random
import tempfile
from functools import cache
from pathlib import Path
from typing import Final

from chain.crypto.keystore import (
    ENTROPY_BYTES,
    KdfStrength,
    KeyRole,
    KeystoreError,
    read_key_header,
    write_key_file,
)
from consensus.signing.guard_log import Record, RecordKind, read_log, write_record
from consensus.signing.guard_transfer import Marks, MarksError, marks_from_json, marks_to_json
from genesis.document import GenesisDocument, GenesisError, from_json, to_json
from tests.fuzz.target import Refused, Target
from tests.tools.chain_node import chain_node
from tests.tools.keys import ALICE
from tests.tools.models import world as models
from tools.importer.config_file import read_json
from tools.importer.errors import ModelImportError
from tools.importer.safetensors import TensorFile
from tools.models.artifact import MANIFEST, Artifact, read_artifact


@cache
def _scratch() -> Path:
    """A folder of this process alone, in memory where the machine has such a place."""
    shared = Path("/dev/shm")
    return Path(tempfile.mkdtemp(prefix="headrace-fuzz-", dir=shared if shared.is_dir() else None))


def _written(data: bytes, name: str) -> Path:
    path = _scratch() / f"{os.getpid()}-{name}"
    path.touch(mode=0o600)
    path.write_bytes(data)
    return path


def _written_twice(document: GenesisDocument) -> None:
    assert from_json(to_json(document)) == document


def _guard_log(data: bytes) -> bytes:
    reading = read_log(data)
    written = b"".join(map(write_record, reading.records))
    assert data[: len(written)] == written
    if reading.torn is not None or reading.damage is not None:
        raise Refused
    return written


def _guard_logs(chance: random.Random) -> list[bytes]:
    kinds = [RecordKind.OWNER, RecordKind.NOTARIZE, RecordKind.NULLIFY, RecordKind.FINALIZE]
    records = [Record(kind, 0, i, chance.randbytes(32), chance.randbytes(9)) for i, kind in enumerate(kinds)]
    return [b"".join(write_record(record) for record in records)]


def _exports(chance: random.Random) -> list[bytes]:
    marks = Marks("headrace-test", chance.randbytes(32), (1, 0), None, (2, 5))
    return [json.dumps(marks_to_json(marks)).encode()]


def _exported_twice(marks: Marks) -> None:
    assert marks_from_json(json.dumps(marks_to_json(marks)).encode()) == marks


def _key_files(chance: random.Random) -> list[bytes]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "key.json"
        entropy = chance.randbytes(ENTROPY_BYTES)
        write_key_file(
            path, ALICE, role=KeyRole.ACCOUNT, password=b"secret", kdf=KdfStrength.LIGHT, entropy=entropy
        )
        return [path.read_bytes()]


def _tensor_files(_: random.Random) -> list[bytes]:
    header = json.dumps({"w": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}}).encode()
    return [len(header).to_bytes(8, "little") + header + bytes(16)]


def _artifacts(_: random.Random) -> list[bytes]:
    with tempfile.TemporaryDirectory() as folder:
        decoder, encoder = models.decoder(Path(folder) / "d", ends=(1,)), models.encoder(Path(folder) / "e")
    return [decoder.to_bytes(), encoder.to_bytes()]


def _artifact(data: bytes) -> Artifact:
    (_scratch() / MANIFEST).write_bytes(data)
    return read_artifact(_scratch())


FILES: Final[dict[str, Target]] = {
    "genesis": Target(
        lambda data: from_json(data.decode("utf-8")),
        (GenesisError, UnicodeDecodeError),
        lambda _: [to_json(chain_node().genesis).encode()],
        _written_twice,
    ),
    "guard-log": Target(_guard_log, (Refused,), _guard_logs, bytes, canonical=True),
    "guard-export": Target(marks_from_json, (MarksError,), _exports, _exported_twice),
    "key-file": Target(lambda data: read_key_header(_written(data, "key")), (KeystoreError,), _key_files),
    "tensor-file": Target(
        lambda data: TensorFile(_written(data, "tensors")), (ModelImportError,), _tensor_files
    ),
    "model-config": Target(
        lambda data: read_json(_written(data, "config")),
        (ModelImportError,),
        lambda _: [b'{"hidden_size": 64, "rms_norm_eps": 1e-05, "rope_scaling": null}'],
    ),
    "artifact": Target(
        _artifact, (ModelImportError,), _artifacts, Artifact.to_bytes, canonical=True, longest=8192
    ),
}
