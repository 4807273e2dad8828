"""Compiled loops give the reference's bits, are tested before they serve, and are never waited for."""

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from pouw.backends.backend import Backend, BackendError
from pouw.ops.kind import OpKind
from pouw.tensors import Array
from tests.pouw.drawn_ops import for_drawn, result
from tests.pouw.world import REFERENCE, int8s

torch = pytest.importorskip("torch", reason="the cpu backend needs torch")
pytest.importorskip("numba", reason="loops are compiled by numba")

from pouw.backends import tiered  # noqa: E402 - only where torch and numba are
from pouw.backends.compiled_cpu import CompiledCpu  # noqa: E402
from pouw.backends.cpu import open_cpu  # noqa: E402
from pouw.backends.known_answer import check_backend  # noqa: E402
from pouw.backends.known_loops import check_loops  # noqa: E402
from pouw.backends.parallel import in_stretches  # noqa: E402
from pouw.backends.select import select_backend  # noqa: E402
from pouw.backends.tiered import WORTH_COMPILING, TieredCpu  # noqa: E402

PLAIN = open_cpu(threads=1)


@pytest.mark.parametrize("fast", [True, False], ids=["int8", "float32"])
def test_loops_are_the_reference(fast: bool) -> None:
    backend: Backend = CompiledCpu(fast=fast and PLAIN.fast, threads=2)
    check_backend(backend)

    def agree(kind: OpKind, operands: list[Array]) -> None:
        expected, got = (result(one, kind, operands) for one in (REFERENCE, backend))
        assert got.dtype == expected.dtype
        assert np.array_equal(got, expected), (kind, [operand.shape for operand in operands])

    for_drawn(40, agree)


def test_stretches_cover_everything_once() -> None:
    for count in (1, 2, 7, 100):
        for threads in (1, 2, 5):
            seen = np.zeros(count, np.int64)

            def add(start: int, stop: int, seen: Any = seen) -> None:
                seen[start:stop] += 1

            in_stretches(add, count, values=1 << 30, threads=threads)
            assert seen.tolist() == [1] * count


def test_a_failing_stretch_is_heard_of() -> None:
    def fail(start: int, _: int) -> None:
        if start:
            raise BackendError("the second half")

    with pytest.raises(BackendError, match="the second half"):
        in_stretches(fail, 2, values=1 << 30, threads=2)


class Careless(CompiledCpu):
    """Right for the known answer's small shapes, wrong where work is dealt out."""

    def matmul_nt(self, a: Any, b: Any, *, bias: Any, requant: Any) -> Any:
        out = super().matmul_nt(a, b, bias=bias, requant=requant)
        if out.numel() > 1 << 16:
            out[-1, -1] += 1
        return out


def test_wrong_loops_are_refused_with_the_reason(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(BackendError, match="otherwise than torch alone: result"):
        check_loops(Careless(fast=PLAIN.fast, threads=2))
    monkeypatch.setattr("pouw.backends.compiled_cpu.CompiledCpu", Careless)
    backend: Any = TieredCpu(PLAIN)
    with caplog.at_level(logging.WARNING):
        assert backend.prepare().startswith("torch, as the compiled loops are refused: cpu (torch")
    assert "exact work goes on without compiled loops" in caplog.text
    assert backend.loops == backend.prepare()
    assert backend.training is PLAIN.training


def test_tiers_change_beside_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small tensors compile nothing, a large one starts it; the parts change, the name does not."""
    started: list[Callable[[], None]] = []

    class Thread:
        def __init__(self, *, target: Any, args: Any, name: str) -> None:
            self.start = lambda: started.append(lambda: target(*args))

    monkeypatch.setattr(tiered.threading, "Thread", Thread)
    backend: Any = TieredCpu(PLAIN)
    name = backend.name
    backend.put(int8s("small", 8, 8))
    assert (started, backend.loops) == ([], "torch")
    for _ in range(2):
        backend.put(np.zeros((1, WORTH_COMPILING), np.int8))
    assert len(started) == 1
    assert backend.training is PLAIN.training
    started[0]()
    assert backend.loops == "compiled"
    assert type(backend.training).__name__ == "CompiledTraining"
    assert backend.name == name
    check_backend(backend)


def test_selection_can_wait_or_go_without() -> None:
    now: Any = select_backend("cpu", loops="now")
    assert now.loops == "compiled"
    assert not hasattr(select_backend("cpu", loops="never"), "loops")
