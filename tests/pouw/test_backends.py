"""Every backend gives the reference's bits, and one that does not is not let in."""

import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pouw.arithmetic.requant import MAX_MULTIPLIER, Requant
from pouw.backends import known_answer
from pouw.backends.backend import Backend, BackendError
from pouw.backends.known_answer import check_backend
from pouw.backends.reference import ReferenceBackend
from pouw.backends.select import select_backend
from pouw.ops.sample import Sample
from pouw.tensors import Array
from tests.pouw.plain import PlainBackend
from tests.pouw.plain_transformer import plain_token
from tests.pouw.world import REFERENCE, int8s

torch = pytest.importorskip("torch", reason="the cpu backend needs torch")

from pouw.backends.cpu import CpuBackend, open_cpu  # noqa: E402 - only where torch is


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


FAST = open_cpu(threads=1)
FLOAT = CpuBackend(fast=False)
TABLE = bytes((11 * i + 7) & 255 for i in range(256))

extremes = st.sampled_from(
    [(127, 127), (-128, -128), (127, -128), (-128, 127), (0, -128), (None, None), (None, 127)]
)
depths = st.integers(1, 70) | st.sampled_from([1024, 1025, 1040, 1041, 2500])
requants = st.one_of(
    st.none(),
    st.builds(
        lambda multiplier, shift, low, table: Requant(multiplier, shift, low=low, table=table),
        st.sampled_from([1, 3, 255, 2**20, MAX_MULTIPLIER]),
        st.integers(0, 62),
        st.sampled_from([-128, -127, 0]),
        st.sampled_from([None, TABLE]),
    ),
)


def matrix(rows: int, cols: int, value: int | None, name: str) -> Array:
    return int8s(name, rows, cols) if value is None else np.full((rows, cols), value, np.int8)


def product(backend: Backend, operands: list[Any], requant: Requant | None) -> Array:
    a, b, *bias = (backend.put(operand) for operand in operands)
    return backend.get(backend.matmul_nt(a, b, bias=bias[0] if bias else None, requant=requant))


@pytest.mark.parametrize("backend", [FAST, FLOAT], ids=["fast", "float"])
@given(
    st.integers(1, 40), depths, st.integers(1, 40), extremes, requants, st.booleans(),
)  # fmt: skip
def test_matmul_is_bit_identical(
    backend: Backend, m: int, k: int, n: int, values: tuple[int, int], requant: Requant | None, bias: bool
) -> None:
    operands = [matrix(m, k, values[0], "left"), matrix(n, k, values[1], "right")]
    if bias:
        operands.append(int8s("bias", n, 1).astype(np.int32) * 2**20)
    expected = product(REFERENCE, operands, requant)
    got = product(backend, operands, requant)
    assert got.dtype == expected.dtype
    assert np.array_equal(got, expected)


@given(st.integers(1, 6), st.integers(1, 40), st.integers(1, 6), extremes, requants)
def test_the_reference_is_plain_arithmetic(
    m: int, k: int, n: int, values: tuple[int, int], requant: Requant | None
) -> None:
    operands = [
        matrix(m, k, values[0], "left"),
        matrix(n, k, values[1], "right"),
        int8s("bias", n, 1).astype(np.int32),
    ]
    expected = product(PlainBackend(), operands, requant)
    got = product(REFERENCE, operands, requant)
    assert (got.dtype, got.tolist()) == (expected.dtype, expected.tolist())


@pytest.mark.parametrize("backend", [FAST, FLOAT], ids=["fast", "float"])
@given(
    st.integers(1, 9), st.integers(1, 300), st.sampled_from(["<i1", "<i2", "<i4"]),
    st.sampled_from([1, 2, 2**24, 2**30]),
)  # fmt: skip
def test_argmax_is_bit_identical(backend: Backend, m: int, n: int, dtype: str, scale: int) -> None:
    """Ties, whole ranges of a type, and rows of equals."""
    size = np.iinfo(dtype)
    values = np.clip(int8s("argmax", m, n).astype(np.int64) // 16 * scale, size.min, size.max).astype(dtype)
    expected = REFERENCE.get(REFERENCE.argmax(values))
    got = backend.get(backend.argmax(backend.put(values)))
    assert (got.dtype, got.tolist()) == (expected.dtype, expected.tolist())


def test_the_known_answer_is_plain_arithmetic() -> None:
    check_backend(PlainBackend())
    check_backend(ReferenceBackend())


@given(
    st.lists(st.integers(-128, 127), min_size=1, max_size=40),
    st.sampled_from([(2900, 15), (1, 0), ((1 << 30) - 1, 40), (4000, 12), (1, 30)]), st.integers(0, 2**31),
)  # fmt: skip
def test_drawing_a_token_is_plain_arithmetic(logits: list[int], scale: tuple[int, int], first: int) -> None:
    multiplier, shift = scale
    token = plain_token(logits, multiplier=multiplier, shift=shift, seed=b"seed", position=first)
    drawn = Sample(multiplier, shift, (b"seed",), 1, first).run(REFERENCE, [np.array([logits], np.int8)])
    assert drawn.tolist() == [[token]]


class Saturating(ReferenceBackend):
    """What int8 products give on instruction sets that sum pairs in 16 bits."""

    def matmul_nt(self, a: Any, b: Any, *, bias: Any, requant: Any) -> Array:
        clipped = np.clip(a.astype(np.int32), -90, 90).astype(np.int8)
        return super().matmul_nt(clipped, b, bias=bias, requant=requant)


class Float32(ReferenceBackend):
    """Sums in float32: exact up to k = 1,040."""

    def matmul_nt(self, a: Any, b: Any, *, bias: Any, requant: Any) -> Array:
        total = (a.astype(np.float32) @ b.astype(np.float32).T).astype(np.int64)
        total += 0 if bias is None else bias.T
        return total.astype(np.int32) if requant is None else requant.apply(total)


class LastOfEquals(ReferenceBackend):
    """An argmax that breaks ties the other way."""

    def argmax(self, a: Any) -> Array:
        flipped = super().argmax(a[:, ::-1])
        result: Array = (a.shape[1] - 1 - flipped.astype(np.int64)).astype(flipped.dtype)
        return result


@pytest.mark.parametrize("backend", [Saturating(), Float32(), LastOfEquals()], ids=lambda x: type(x).__name__)
def test_a_wrong_backend_is_refused(backend: Backend) -> None:
    with pytest.raises(BackendError, match=r"computes wrongly on this machine: known answer b5785e3d"):
        check_backend(backend)


def test_a_wrong_fast_path_falls_back_to_float_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    def saturating(a: Any, b: Any) -> Any:
        return torch.matmul(a.to(torch.int32).clamp(-90, 90), b.to(torch.int32))

    monkeypatch.setattr(torch, "_int_mm", saturating)
    assert open_cpu().name == f"cpu (torch {torch.__version__}, float32 by chunks)"


def test_no_way_to_multiply_is_an_error_and_auto_takes_the_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    (does, _, answered), *rest = known_answer.PARTS
    monkeypatch.setattr(known_answer, "PARTS", ((does, "another", answered), *rest))
    with pytest.raises(BackendError, match="float32 by chunks"):
        select_backend("cpu")
    monkeypatch.undo()
    monkeypatch.setattr(CpuBackend, "matmul_nt", lambda *_, **__: torch.zeros(1, 1, dtype=torch.int32))
    assert select_backend("auto", loops="never").name == "reference (numpy)"


def test_selection() -> None:
    assert select_backend("reference").name == "reference (numpy)"
    assert select_backend("cpu").name == FAST.name
    for threads in (2, 1):
        backend: Any = select_backend("cpu", threads=threads)
        assert backend.name == FAST.name
        assert backend.threads == threads
        assert torch.get_num_threads() == 1
    for device in ("gpu", "cuda:", "cuda:x", "cpu:0", "cuda:1000"):
        with pytest.raises(BackendError, match=f"no device '{device}'"):
            select_backend(device)


def run_python(program: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def test_the_instruction_set_trap_is_defused() -> None:
    """Under this variable torch's int8 products saturate; the backend clears it before torch sees it."""
    program = (
        "from pouw.backends.select import select_backend; import os;"
        "print(select_backend('cpu').name, 'ONEDNN_MAX_CPU_ISA' in os.environ)"
    )
    for variable in ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"):
        assert (
            run_python(program.replace("ONEDNN_MAX_CPU_ISA", variable), **{variable: "AVX2"})
            == f"{FAST.name} False"
        )


def test_without_triton_auto_is_the_cpu_and_a_gpu_cannot_be_had() -> None:
    hidden = "import sys; sys.modules['triton'] = None;"
    select = (
        "from pouw.backends.select import select_backend; from pouw.backends.backend import BackendError;"
    )
    assert run_python(hidden + select + "print(select_backend('auto').name)") == FAST.name
    refused = "\ntry: select_backend('cuda')\nexcept BackendError as error: print(error)"
    assert "the cuda backend needs triton" in run_python(hidden + select + refused)


def test_without_torch_auto_is_the_reference() -> None:
    hidden = "import sys; sys.modules['torch'] = None;"
    select = (
        "from pouw.backends.select import select_backend; from pouw.backends.backend import BackendError;"
    )
    assert run_python(hidden + select + "print(select_backend('auto').name)") == "reference (numpy)"
    refused = "\ntry: select_backend('cpu')\nexcept BackendError as error: print(error)"
    assert "torch, which is not installed" in run_python(hidden + select + refused)


def test_without_torch_the_reference_alone_is_present() -> None:
    listed = "from pouw.backends.select import present_devices; print(present_devices())"
    assert run_python("import sys; sys.modules['torch'] = None;" + listed) == "['reference']"
    assert run_python(listed).endswith("'cpu', 'reference']")
