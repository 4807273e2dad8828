"""What exact work is measured against: the same layer in torch's own floating point, and plain products."""

from typing import Final, Literal

import torch

from pouw.backends.parallel import HOST_THREADS, stay_on_thread
from pouw.backends.products import whole_product

Kind = Literal["float32", "bf16"]

_TYPES: Final = {"float32": torch.float32, "bf16": torch.bfloat16}


class FloatLayer:
    """One decoder layer as torch runs it eagerly; a call gives it some tokens and waits for the end.

    Args:
        width: of the residual stream.
        hidden: of the feed-forward part.
        head_dim: of a head.
        tokens: read at once.
        kind: the numbers.
        device: as torch calls it.
        threads: on the host; None for all.
    """

    def __init__(
        self, width: int, hidden: int, head_dim: int, tokens: int, *,
        kind: Kind, device: str, threads: int | None = None,
    ) -> None:  # fmt: skip
        self._dim = head_dim
        self._device = device
        self._threads = HOST_THREADS if threads is None else threads
        self._x, self._qkv, self._o, self._up, self._down = (
            torch.randn(shape, device=device).to(_TYPES[kind])
            for shape in (
                (tokens, width), (width, 3 * width), (width, width), (width, 2 * hidden), (hidden, width),
            )
        )  # fmt: skip

    @torch.no_grad()
    def __call__(self) -> None:
        """Run it."""
        torch.set_num_threads(self._threads)
        try:
            self._run()
        finally:
            stay_on_thread()
        finish(self._device)

    def _run(self) -> torch.Tensor:
        x = self._x
        q, k, v = (self._split(part) for part in (_norm(x) @ self._qkv).chunk(3, dim=1))
        mixed = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)[0]
        x = x + mixed.transpose(0, 1).reshape(x.shape) @ self._o
        gate, up = (_norm(x) @ self._up).chunk(2, dim=1)
        return x + (torch.nn.functional.silu(gate) * up) @ self._down

    def _split(self, x: torch.Tensor) -> torch.Tensor:
        return x.view(len(x), -1, self._dim).transpose(0, 1)[None]


class Int8Product:
    """A square product of int8 by `torch._int_mm`: as fast as the device can be made to go this way.

    Args:
        side: of both operands.
        device: as torch calls it.
        threads: on the host; None for all.
    """

    def __init__(self, side: int, *, device: str, threads: int | None = None) -> None:
        self.macs = side**3
        self._device = device
        self._threads = HOST_THREADS if threads is None else threads
        self._a, self._b = (
            torch.randint(-128, 128, (side, side), dtype=torch.int8, device=device) for _ in range(2)
        )

    def __call__(self) -> None:
        """Multiply."""
        if self._device == "cpu":
            whole_product(_int8, self._a, self._b, threads=self._threads)
        else:
            _int8(self._a, self._b)
        finish(self._device)


def finish(device: str) -> None:
    """Wait until a device has done what it was asked for."""
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)


def _int8(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return torch._int_mm(a, b.t())


def _norm(x: torch.Tensor) -> torch.Tensor:
    return x * torch.rsqrt(x.square().mean(dim=1, keepdim=True) + 1e-6)
