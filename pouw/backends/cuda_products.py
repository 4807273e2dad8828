"""Products of int8 matrices on a GPU.

`torch._int_mm` goes to cuBLASLt, which adds in int32 and takes no shape that its tiles do not divide: more
than 16 rows, and depth and columns divisible by 8. Operands are filled up with zeros, which no sum notices,
to whole tiles: 32 rows, 16 columns, depths of 16.
"""

from typing import Final

import torch

_ROWS: Final = 32
_SIDE: Final = 16

_CHUNK: Final = 1024
"""Products of int8 values sum exactly in float32 up to here: 1,024 * 128 * 128 = 2^24."""


def padded_product(a: torch.Tensor, b: torch.Tensor, *, fast: bool) -> torch.Tensor:
    """A[m,k] · B[n,k]ᵀ as int32 [m or more, n or more]; what lies beyond [m,n] is 0.

    Args:
        a: int8.
        b: int8.
        fast: by `torch._int_mm`; else in float32 by chunks, with the short formats for it switched off.
    """
    if not fast:
        return _by_chunks(a, b)
    return torch._int_mm(_filled(a, _ROWS), _filled(b, _SIDE).t())


def _filled(x: torch.Tensor, rows: int) -> torch.Tensor:
    down, across = -x.shape[0] % rows, -x.shape[1] % _SIDE
    return torch.nn.functional.pad(x, (0, across, 0, down)) if down or across else x.contiguous()


def _by_chunks(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    total = torch.zeros(a.shape[0], b.shape[0], dtype=torch.int32, device=a.device)
    for start in range(0, a.shape[1], _CHUNK):
        left, right = (part[:, start : start + _CHUNK].to(torch.float32) for part in (a, b))
        total += (left @ right.t()).to(torch.int32)
    return total
