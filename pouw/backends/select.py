"""Which backend serves on this machine."""

from importlib import import_module
from importlib.util import find_spec
from typing import Literal, cast

from pouw.backends.backend import Backend, BackendError
from pouw.backends.known_answer import check_backend
from pouw.backends.reference import ReferenceBackend

Device = Literal["auto", "cpu", "reference"]


def select_backend(device: Device, *, threads: int | None = None) -> Backend:
    """A backend that has passed its known-answer test.

    Args:
        device: "cpu" for torch, "reference" for numpy, "auto" for torch where it is installed and computes
            rightly.
        threads: how many torch may use in this process, at least 1; None leaves that to torch.

    Raises:
        BackendError: the device is unknown, not installed, or computes wrongly on this machine.
    """
    if device == "reference":
        backend = ReferenceBackend()
        check_backend(backend)
        return backend
    if device == "cpu":
        return _open_cpu(threads)
    if device == "auto":
        try:
            return _open_cpu(threads)
        except BackendError:
            return select_backend("reference")
    raise BackendError(f"no device {device!r}: choose auto, cpu or reference")


def _open_cpu(threads: int | None) -> Backend:
    if find_spec("torch") is None:
        raise BackendError(
            "the cpu backend needs torch, which is not installed: pip install 'headrace[work]'"
        )
    # Imported by name: torch takes a second to load and stays out of every process that does not ask for it.
    module = import_module("pouw.backends.cpu")
    if threads is not None:
        import_module("torch").set_num_threads(threads)
    return cast(Backend, module.open_cpu())
