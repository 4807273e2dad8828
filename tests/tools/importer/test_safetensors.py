"""Foreign tensor files: read rightly, or refused with a reason before anything is allocated."""

import tracemalloc
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.tools.importer.folders import pack
from tools.importer.errors import ImportReason, ModelImportError
from tools.importer.safetensors import MAX_HEADER_BYTES, TensorFile

VALUES = np.array([[1.5, -2.0, 0.25], [3.0, 0.0, -0.5]], np.float32)


def written(folder: Path, data: bytes) -> Path:
    path = folder / "model.safetensors"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("dtype", ["F32", "F16", "BF16"])
def test_values_are_read(tmp_path: Path, dtype: str) -> None:
    file = TensorFile(written(tmp_path, pack({"a": VALUES, "b": VALUES[:1]}, dtype)))
    assert set(file.tensors) == {"a", "b"}
    assert file.read("a").dtype == np.float32
    assert np.array_equal(file.read("a"), VALUES)
    assert np.array_equal(file.read("b"), VALUES[:1])
    with pytest.raises(ModelImportError, match="MISSING: no tensor c"):
        file.read("c")


def entry(**changes: Any) -> dict[str, Any]:
    return {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24], **changes}


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", ImportReason.MALFORMED),
        (b"\x05\0\0\0\0\0\0\0{}", ImportReason.MALFORMED),
        ((MAX_HEADER_BYTES + 1).to_bytes(8, "little"), ImportReason.OVERSIZE),
        (b"\xff" * 8, ImportReason.OVERSIZE),
        (b"\2\0\0\0\0\0\0\0[]", ImportReason.MALFORMED),
        (b"\2\0\0\0\0\0\0\0{]", ImportReason.MALFORMED),
        ((40000).to_bytes(8, "little") + b"[" * 40000, ImportReason.MALFORMED),
        (pack({"a": VALUES}) + b"x", ImportReason.MALFORMED),
        (pack({"a": VALUES})[:-1], ImportReason.MALFORMED),
        (pack({"a": VALUES}, a=entry(dtype="F8_E4M3")), ImportReason.UNSUPPORTED),
        (pack({"a": VALUES}, a=entry(dtype=["F32"])), ImportReason.UNSUPPORTED),
        (pack({"a": VALUES}, a=entry(shape=[2, 4])), ImportReason.MALFORMED),
        (pack({"a": VALUES}, a=entry(shape=[-2, -3])), ImportReason.MALFORMED),
        (pack({"a": VALUES}, a=entry(shape=[2, 3.0])), ImportReason.MALFORMED),
        (pack({"a": VALUES}, a=entry(shape=[1 << 47] * 4)), ImportReason.MALFORMED),
        (pack({"a": VALUES}, a=entry(data_offsets=[24, 48])), ImportReason.MALFORMED),
        (pack({"a": VALUES}, a=entry(data_offsets=[0, 1 << 40])), ImportReason.MALFORMED),
        (pack({"a": VALUES}, b=entry()), ImportReason.MALFORMED),
        (pack({"a": VALUES}, a={"dtype": "F32"}), ImportReason.MALFORMED),
        (pack({"a": VALUES}, a=7), ImportReason.MALFORMED),
    ],
)
def test_a_bad_file_is_refused(tmp_path: Path, data: bytes, reason: ImportReason) -> None:
    path = written(tmp_path, data)
    tracemalloc.start()
    with pytest.raises(ModelImportError) as caught:
        TensorFile(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert caught.value.reason is reason
    assert peak < 16 * len(data) + (1 << 18)


def test_a_name_twice_and_numbers_that_are_none(tmp_path: Path) -> None:
    twice = b'{"a":{},"a":{}}'
    with pytest.raises(ModelImportError, match="a name twice"):
        TensorFile(written(tmp_path, len(twice).to_bytes(8, "little") + twice))
    with pytest.raises(ModelImportError, match="no number"):
        TensorFile(written(tmp_path, pack({"a": np.full(3, np.inf, np.float32)}))).read("a")
    with pytest.raises(ModelImportError, match="MISSING: no file"):
        TensorFile(tmp_path / "nothing")


@given(place=st.integers(0, 200), byte=st.integers(0, 255))
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_changed_byte_is_read_or_refused(tmp_path: Path, place: int, byte: int) -> None:
    data = bytearray(pack({"a": VALUES}))
    data[place % len(data)] = byte
    with suppress(ModelImportError):
        file = TensorFile(written(tmp_path, bytes(data)))
        for name in file.tensors:
            file.read(name)
