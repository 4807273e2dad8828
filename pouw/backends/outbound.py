"""Results on their way from a device to the host, while the device goes on."""

from typing import Any, Final

import torch

from pouw.tensors import Array

_SENT: Final = "_exact_work_sent"


class Outbound:
    """Copies tensors to pinned memory on a stream of its own.

    Args:
        device: where tensors come from; what lies on the host already is not copied.
    """

    def __init__(self, device: torch.device) -> None:
        self._stream: torch.cuda.Stream | None = None
        if device.type == "cuda":
            self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def send(self, tensor: torch.Tensor) -> None:
        """Start to copy a tensor that nothing will change, after what computes it."""
        if self._stream is None or not tensor.is_contiguous():
            return
        there = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
        self._stream.wait_stream(torch.cuda.current_stream(tensor.device))
        with torch.cuda.stream(self._stream):
            there.copy_(tensor, non_blocking=True)
            done = torch.cuda.Event()  # type: ignore[no-untyped-call]
            done.record(self._stream)
        # The memory must not go to another tensor before the copy has read it.
        tensor.record_stream(self._stream)
        setattr(tensor, _SENT, (there, done))

    def arrived(self, tensor: torch.Tensor) -> Array:
        """The host's copy, once it is there."""
        sent: tuple[torch.Tensor, torch.cuda.Event] | None = getattr(tensor, _SENT, None)
        if sent is None:
            host: Array = tensor.cpu().contiguous().numpy()
            return host
        there, done = sent
        done.synchronize()
        pinned: Array = there.numpy()
        return pinned


class Sending:
    """Part of a backend whose results start their way to the host as soon as they are ordered.

    Args:
        part: whose methods each give one tensor.
        outbound: the way.
    """

    def __init__(self, part: object, outbound: Outbound) -> None:
        self._part = part
        self._outbound = outbound

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._part, name)

        def sending(*operands: object, **constants: object) -> Any:
            result = method(*operands, **constants)
            self._outbound.send(result)
            return result

        return sending
