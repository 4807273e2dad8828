"""How the loops of this package become machine code."""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
from numba.core.errors import NumbaError as CompileError  # noqa: F401 - named here for those who may not meet numba

_F = TypeVar("_F", bound=Callable[..., Any])


def compiled(function: _F) -> _F:
    """A loop over arrays, compiled when it is first called with operands of some types, and kept on disk.

    Integers are 64 bits wide on the way, whatever the arrays hold; the machine code drops what it can. The
    interpreter lock is released. Nothing is reassociated: the few steps in float64 are correctly rounded.

    Args:
        function: takes C-contiguous arrays and integers, and writes into arrays.
    """
    return cast(_F, numba.njit(cache=True, nogil=True, error_model="numpy")(function))
