"""How the loops of this package become machine code."""

import logging
from collections.abc import Callable
from typing import Any, Final, TypeVar, cast

import numba
from numba.core.errors import NumbaError as CompileError  # noqa: F401 - named here for those who may not meet numba

_LOG: Final = logging.getLogger("headrace.work")


class _KeptIfPossible:
    """Numba's cache of one loop, on a disk that may be full: what cannot be kept is compiled again, no more.

    Args:
        cache: numba's own.
    """

    def __init__(self, cache: Any) -> None:
        self._kept = cache

    def __getattr__(self, name: str) -> Any:
        return getattr(self._kept, name)

    def save_overload(self, signature: Any, data: Any) -> None:
        """Keep what was compiled, if there is room."""
        try:
            self._kept.save_overload(signature, data)
        except OSError as error:
            _LOG.warning("compiled loops are not kept: %s", error)


_F = TypeVar("_F", bound=Callable[..., Any])


def compiled(function: _F) -> _F:
    """A loop over arrays, compiled when it is first called with operands of some types, and kept on disk.

    Integers are 64 bits wide on the way, whatever the arrays hold; the machine code drops what it can. The
    interpreter lock is released. Nothing is reassociated: the few steps in float64 are correctly rounded.

    Where there is no folder to keep it in, every process compiles it again.

    Args:
        function: takes C-contiguous arrays and integers, and writes into arrays.
    """
    loop = numba.njit(nogil=True, error_model="numpy")(function)
    try:
        loop.enable_caching()
        loop._cache = _KeptIfPossible(loop._cache)
    except RuntimeError as error:
        # A read-only installation of a user without a home: "no locator available".
        _LOG.info("compiled loops are not kept: %s", error)
    return cast(_F, loop)
