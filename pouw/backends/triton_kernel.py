"""How Triton's kernels are compiled and launched.

Rules that all of them keep, because GPUs differ where they are broken: every product is widened to int64
before it is formed, unless the op's range says that it fits int32; nothing overflows; signed quotients are
formed of positive numbers or put right afterwards; there is no floating point.
"""

from collections.abc import Callable
from typing import Any, Final

import torch
import triton

BLOCK: Final = 1024
"""Values that one program of an elementwise kernel treats."""


def kernel(function: Callable[..., None]) -> Any:
    """A kernel; with TRITON_INTERPRET=1 in the environment it runs on the host, in numpy."""
    return triton.jit(function)


def counting_kernel(*integers: str) -> Callable[[Callable[..., None]], Any]:
    """A kernel that is compiled once, not again for integers that are 1 or that 16 divides.

    Args:
        integers: the parameters that change from call to call.
    """
    made: Callable[[Callable[..., None]], Any] = triton.jit(do_not_specialize=integers)
    return made


def launch(function: Any, programs: int, *operands: object, **constants: object) -> None:
    """Run a kernel.

    Args:
        function: from `kernel`.
        programs: how many; each knows its number.
        operands: tensors, of which the first decides the device, and integers.
        constants: what the kernel is compiled for.
    """
    first = operands[0]
    assert isinstance(first, torch.Tensor), "a kernel's first operand says where it runs"
    if first.device.type == "cuda":
        with torch.cuda.device(first.device):
            function[(programs,)](*operands, **constants)
    else:
        function[(programs,)](*operands, **constants)


def blocks_of(count: int) -> int:
    """Programs of an elementwise kernel over some values."""
    return -(-count // BLOCK)
