"""A CPU backend that works at once with torch alone, and with compiled loops as soon as they are ready.

Compiling takes ten seconds, loading what was compiled before takes one; a miner that only classifies digits
should wait for neither. So both happen beside the work: loading at once where there is something to load,
compiling when the first tensor of some size comes. As every backend gives the same bits, it does not matter
between which two ops of a program the change falls.
"""

import logging
import threading
from importlib import import_module
from typing import Any, Final

from pouw.backends.backend import BackendError
from pouw.backends.cpu import CpuBackend
from pouw.backends.known_answer import check_backend
from pouw.tensors import Array

WORTH_COMPILING: Final = 1 << 15
"""Bytes of a tensor from which on a model is large enough to compile for."""

_LOG: Final = logging.getLogger("headrace.work")


class TieredCpu:
    """A `Backend`: everything that is not here is the present tier's, which passed the known-answer test.

    Args:
        plain: torch alone, tested.
    """

    def __init__(self, plain: CpuBackend) -> None:
        self._now = plain
        self._started = threading.Lock()
        self._refused: str | None = None
        self._worker: threading.Thread | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._now, name)

    @property
    def name(self) -> str:
        """See `Backend.name`; the same before and after the change."""
        return CpuBackend.name.fget(self._now)  # type: ignore[attr-defined,no-any-return]

    @property
    def loops(self) -> str:
        """What runs between the products, for people."""
        if self._refused is not None:
            return f"torch, as the compiled loops are refused: {self._refused}"
        return "torch" if type(self._now) is CpuBackend else "compiled"

    def put(self, array: Array) -> Any:
        """See `Backend.put`."""
        if array.nbytes >= WORTH_COMPILING and self._worker is None:
            self.start()
        return self._now.put(array)

    def start(self, *, only_if_kept: bool = False) -> None:
        """Load or compile the loops beside the work.

        Args:
            only_if_kept: do nothing where they would have to be compiled.
        """
        # Not a daemon: a thread that is torn down within the compiler takes the process with it. The end of
        # the program waits for it, until its next step, see `_Watched`.
        worker = threading.Thread(target=self._prepare, args=(only_if_kept,), name="kernels")
        self._worker = None if only_if_kept else worker
        worker.start()

    def prepare(self) -> str:
        """Load or compile the loops now, and tell which are in use: `loops`."""
        self._prepare(only_if_kept=False)
        return self.loops

    def _prepare(self, only_if_kept: bool) -> None:
        with self._started:
            if type(self._now) is not CpuBackend or self._refused is not None:
                return
            try:
                if only_if_kept and not import_module("pouw.kernels.store").compiled_before():
                    return
                self._now = _tested(fast=self._now.fast, threads=self._now.threads)
            except _Ending:
                return
            except (ImportError, OSError, RuntimeError) as error:
                self._refused = str(error)
                _LOG.warning("exact work goes on without compiled loops: %s", error)


class _Ending(Exception):  # noqa: N818 - nothing is wrong
    """The program is ending: nobody waits for the loops any more."""


class _Watched:
    """A backend that is not tested to the end of the test where the program ends before.

    Args:
        backend: the one that wants to serve.
    """

    def __init__(self, backend: CpuBackend) -> None:
        self._backend = backend

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    def put(self, array: Array) -> Any:
        """See `Backend.put`; the tests put every operand."""
        if not threading.main_thread().is_alive():
            raise _Ending
        return self._backend.put(array)


def _tested(*, fast: bool, threads: int) -> CpuBackend:
    """The backend with compiled loops.

    Raises:
        BackendError: it computes wrongly on this machine, or does not compile.
        ImportError, OSError, RuntimeError: numba is broken.
    """
    backend: CpuBackend = import_module("pouw.backends.compiled_cpu").CompiledCpu(fast=fast, threads=threads)
    watched: Any = _Watched(backend)
    try:
        check_backend(watched)
    except import_module("pouw.kernels.compiled").CompileError as error:
        raise BackendError(f"the loops do not compile here: {error}") from error
    import_module("pouw.backends.known_loops").check_loops(watched)
    import_module("pouw.kernels.store").note_compiled()
    return backend
