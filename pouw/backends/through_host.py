"""Ops that have no kernel for a device: its tensors go to the host, to torch's exact ops, and back."""

from typing import Any

import torch


class ThroughHost:
    """Part of a backend whose methods take and give tensors of a device.

    Args:
        part: the same part of the CPU's backend.
        device: where tensors come from and go to.
    """

    def __init__(self, part: object, device: torch.device) -> None:
        self._part = part
        self._device = device

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._part, name)

        def through(*operands: object, **constants: object) -> Any:
            here = [_moved(operand, torch.device("cpu")) for operand in operands]
            named = {key: _moved(value, torch.device("cpu")) for key, value in constants.items()}
            return _moved(method(*here, **named), self._device)

        return through


def _moved(value: object, device: torch.device) -> Any:
    if isinstance(value, torch.Tensor):
        return value.to(device)
    if isinstance(value, list | tuple) and any(isinstance(item, torch.Tensor) for item in value):
        return [_moved(item, device) for item in value]
    return value
