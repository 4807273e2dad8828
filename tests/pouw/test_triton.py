"""The GPU's kernels without a GPU: in Triton's interpreter, and through its compiler; and on one, if any."""

import functools
import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

torch = pytest.importorskip("torch", reason="the cuda backend needs torch")
triton = pytest.importorskip("triton", reason="the cuda backend needs triton")

from triton.backends.compiler import GPUTarget  # noqa: E402 - only where triton is
from triton.compiler import ASTSource  # noqa: E402

from pouw.arithmetic.requant import Requant  # noqa: E402
from pouw.backends import (  # noqa: E402
    triton_attention,
    triton_blake3,
    triton_learning,
    triton_products,
    triton_rows,
)
from pouw.backends.backend import Backend, BackendError  # noqa: E402
from pouw.backends.cpu import open_cpu  # noqa: E402
from pouw.backends.cuda import CudaBackend  # noqa: E402
from pouw.backends.cuda_products import padded_product  # noqa: E402
from pouw.backends.cuda_rows import CudaRows  # noqa: E402
from pouw.backends.known_transformer_training import (  # noqa: E402
    TRANSFORMER_TRAINING_ANSWER,
    transformer_training_digest,
)
from pouw.backends.select import present_devices, select_backend  # noqa: E402
from pouw.backends.through_host import ThroughHost  # noqa: E402
from pouw.backends.torch_encoder import TorchEncoder  # noqa: E402
from pouw.backends.torch_tensors import CPU  # noqa: E402
from pouw.backends.torch_transformer_training import TorchTransformerTraining  # noqa: E402
from pouw.ops.kind import OpKind  # noqa: E402
from pouw.tensors import Array, DType, TensorSpec  # noqa: E402
from pouw.trees.bulk_rows import hash_in_bulk  # noqa: E402
from pouw.trees.rows import Levels, RowTree  # noqa: E402
from tests.pouw.device_rows import KEY, all_agree  # noqa: E402
from tests.pouw.drawn_ops import for_drawn, result  # noqa: E402
from tests.pouw.world import REFERENCE, int8s  # noqa: E402

GPUS = [device for device in present_devices() if device.startswith("cuda")]


def interpret(module: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", f"tests.pouw.{module}", *arguments],
        env={**os.environ, "TRITON_INTERPRET": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_interpreted_kernels_are_the_reference() -> None:
    """Drawn shapes and extreme values; five families of ops."""
    assert int(interpret("interpreted", "12")) >= 45


@pytest.mark.slow
def test_interpreted_kernels_are_the_reference_at_length() -> None:
    assert int(interpret("interpreted", "150")) >= 500


def test_a_part_that_computes_wrongly_goes_through_the_host(caplog: pytest.LogCaptureFixture) -> None:
    class Careless(TorchTransformerTraining):
        def momentum(self, momentum: Any, gradient: Any, *, decay: int, limit: int) -> Any:
            return super().momentum(momentum, gradient, decay=decay, limit=limit).add_(1)

    backend = CudaBackend(CPU, fast=False, host=open_cpu(threads=1))
    backend.test_parts()
    assert isinstance(backend.transformer_training, TorchTransformerTraining)
    assert isinstance(backend.encoder, TorchEncoder)
    assert not caplog.records
    backend._transformer_training = Careless(backend._product, CPU)
    backend.test_parts()
    assert isinstance(backend.transformer_training, ThroughHost)
    assert isinstance(backend.encoder, TorchEncoder)
    assert "transformer_training goes through the host, not cpu: it computes wrongly" in caplog.text
    assert transformer_training_digest(backend) == TRANSFORMER_TRAINING_ANSWER


def test_interpreted_kernels_make_the_same_trees() -> None:
    interpret("device_rows", "4")


@pytest.mark.slow
def test_interpreted_kernels_make_the_same_trees_at_length() -> None:
    interpret("device_rows", "100", "all")


KERNELS: list[tuple[Any, list[str], int, dict[str, Any]]] = [
    (triton_products.requant, ["*i32", "*i32", "*i8", "*i8"], 8,
     {"with_bias": True, "with_table": True, "block": 1024}),
    (triton_products.scale, ["*i32", "*i32", "*i16", "*i16"], 6,
     {"by_row": False, "with_residual": True, "block": 1024}),
    (triton_rows.norm, ["*i32", "*i16", "*i8"], 5, {"bits": 16, "block": 1024}),
    (triton_rows.turn, ["*i16", "*i16", "*i8"], 7, {"by_head": True, "block": 1024}),
    (triton_rows.gate, ["*i8", "*i8", "*i16", "*i8"], 3, {"block": 1024}),
    (triton_attention.weigh, ["*i8"] * 4, 9, {"deep": 64, "rows": 32, "some": 64}),
    (triton_attention.mix, ["*i8"] * 3, 7, {"deep": 64, "rows": 32, "some": 64}),
    (triton_learning.stochastic, ["*i32", "*i8", "*i8", "*i8"], 5, {"gated": True, "block": 1024}),
    (triton_learning.narrow, ["*i32", "*i8"], 5, {"block": 1024}),
    (triton_learning.velocity, ["*i32", "*i32", "*i8", "*i32"], 5, {"block": 1024}),
    (triton_learning.descend, ["*i32"] * 3, 2, {"block": 1024}),
    (triton_learning.loss, ["*i32", "*i8", "*i64", "*i64", "*i16"], 4, {"block": 1024}),
    (triton_blake3.leaves, ["*i32"] * 2, 13, {"lanes": 128}),
    (triton_blake3.climb, ["*i32"], 11, {"lanes": 128}),
]  # fmt: skip
"""Each kernel with its pointers, how many integers follow, and its constants."""

TREES = (triton_blake3.leaves, triton_blake3.climb)


@pytest.fixture
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path_factory.getbasetemp() / "triton"))


def assembled(case: tuple[Any, list[str], int, dict[str, Any]], capability: int, integers: str) -> str:
    function, pointers, count, constants = case
    kinds = [*pointers, *([integers] * count), *(["constexpr"] * len(constants))]
    # As at run time: tensors begin where sixteen divides the address.
    whole = {(place,): [["tt.divisibility", 16]] for place in range(len(pointers))}
    signature = dict(zip(function.arg_names, kinds, strict=True))
    source = ASTSource(function, signature=signature, constexprs=constants, attrs=whole)
    options = {"num_stages": 1} if function in TREES else {}
    compiled = triton.compile(source, target=GPUTarget("cuda", capability, 32), options=options)
    text: str = compiled.asm["ptx"]
    return text


@pytest.mark.parametrize("case", KERNELS, ids=lambda case: case[0].__name__)
@pytest.mark.usefixtures("cache")
def test_kernels_compile_to_integers_alone(case: tuple[Any, list[str], int, dict[str, Any]]) -> None:
    """No floating point, and no sum but those of tensor cores that could saturate."""
    text = assembled(case, 80, "i32")
    assert not [line for line in text.splitlines() if ".f32" in line or ".f64" in line]
    assert all("mma" in line for line in text.splitlines() if "satfinite" in line)


@pytest.mark.parametrize("capability", [80, 90])
@pytest.mark.usefixtures("cache")
def test_a_thread_hashes_one_leaf(capability: int) -> None:
    """No lane is hashed twice, no word goes to another thread, none is read ahead of the levels below it."""
    for case in [case for case in KERNELS if case[0] in TREES]:
        text = assembled(case, capability, "i32")
        count = {
            what: text.count(what) for what in ("shf.", "ld.global.v4", "ld.global", "cp.async", ".local")
        }
        # Seven rounds of eight quarters, each with four rotations; sixteen bytes at a time.
        loads = 4 if case[0] is triton_blake3.climb else 12
        assert count == {"shf.": 224, "ld.global.v4": loads, "ld.global": loads, "cp.async": 0, ".local": 0}
        if case[0] is triton_blake3.climb:
            level = text[text.index("ld.global") :]
            assert level.rindex("st.global") < level.index("bar.sync")


@pytest.mark.slow
@pytest.mark.parametrize("capability", [80, 89, 90, 100, 120])
@pytest.mark.parametrize("integers", ["i32", "i64"])
@pytest.mark.usefixtures("cache")
def test_kernels_compile_for_every_architecture(capability: int, integers: str) -> None:
    for case in KERNELS:
        assert assembled(case, capability, integers)


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize(("m", "k", "n"), [(1, 1, 1), (16, 7, 9), (17, 8, 8), (33, 1041, 17), (64, 64, 64)])
def test_padding_changes_no_sum(m: int, k: int, n: int, fast: bool) -> None:
    a, b = int8s("a", m, k), int8s("b", n, k)
    whole = padded_product(torch.from_numpy(a), torch.from_numpy(b), fast=fast).numpy()
    assert np.array_equal(whole[:m, :n], a.astype(np.int32) @ b.astype(np.int32).T)
    assert not whole[m:].any()
    assert not whole[:, n:].any()
    if fast:
        assert (whole.shape[0] % 32, whole.shape[1] % 16) == (0, 0)


@pytest.mark.skipif(bool(GPUS), reason="there is a GPU")
def test_a_missing_gpu_is_said_to_be_missing() -> None:
    with pytest.raises(BackendError, match=r"no GPU number 3: torch 2\.\S+ sees 0"):
        select_backend("cuda:3")
    assert select_backend("auto", loops="never").name.startswith("cpu")


@pytest.fixture
def gpu() -> Backend:
    if not GPUS:
        pytest.skip("no GPU here")
    return select_backend(GPUS[0])


def test_a_gpu_gives_the_reference(gpu: Backend) -> None:
    """After the known-answer test, which `select_backend` runs: drawn shapes and extreme values."""

    def agree(kind: OpKind, operands: list[Array]) -> None:
        expected, got = (result(backend, kind, operands) for backend in (REFERENCE, gpu))
        assert got.dtype == expected.dtype
        assert np.array_equal(got, expected), kind

    for_drawn(100, agree)


def test_a_gpu_makes_the_same_trees(gpu: Backend) -> None:
    """`select_backend` has run the whole known-answer test, and a difference would have left `rows` empty."""
    assert isinstance(gpu, CudaBackend)
    assert gpu.rows is not None
    all_agree(gpu, 200, everything=True)


def test_trees_are_made_while_ops_compute(gpu: Backend) -> None:
    """Tensors are let go of at once, and the next ones take their memory: what is hashed is still theirs."""
    assert isinstance(gpu.rows, CudaRows)
    spec = TensorSpec(2048, 2048, DType.INT8)
    wide = int8s("beside", 2048, 2048)
    a = gpu.put(wide)
    products = [
        functools.partial(gpu.matmul_nt, a, a, bias=None, requant=Requant(number, 20))
        for number in range(1, 25)
    ]
    roots = [gpu.rows.tree(KEY, spec, product())._root for product in products]
    for root, product in zip(roots, products, strict=True):
        expected = RowTree(bytes(32), 0, spec=spec, array=gpu.get(product()), hasher=with_key).root
        assert root.wait() == expected


def with_key(_key: bytes, spec: TensorSpec, data: NDArray[np.uint8]) -> Levels:
    return hash_in_bulk(KEY, spec, data)


def test_what_a_device_cannot_hash_the_host_hashes(caplog: pytest.LogCaptureFixture) -> None:
    """Without a GPU and without the interpreter no kernel runs: as good as one that fails."""
    backend = CudaBackend(torch.device("cpu"), fast=False, host=open_cpu(threads=1))
    backend.test_rows()
    assert backend.rows is None
    assert "tensors of cpu are hashed on the host: " in caplog.text
