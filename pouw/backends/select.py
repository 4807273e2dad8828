"""Which backend serves on this machine."""

from importlib import import_module
from importlib.util import find_spec
from typing import Final, Literal, cast

from pouw.backends.backend import Backend, BackendError
from pouw.backends.known_answer import check_backend
from pouw.backends.reference import ReferenceBackend

Device = str
"""auto, cuda, cuda:N, cpu or reference."""

Loops = Literal["beside", "now", "never"]
"""When a CPU's loops are compiled: beside the work, see `TieredCpu`; before the first of it; not at all."""

KINDS: Final = ("auto", "cuda", "cpu", "reference")


def is_device(name: str) -> bool:
    """Whether a device could be called so."""
    kind, colon, number = name.partition(":")
    if not colon:
        return kind in KINDS
    return kind == "cuda" and number.isascii() and number.isdigit() and len(number) <= 3


def select_backend(device: Device, *, threads: int | None = None, loops: Loops = "beside") -> Backend:
    """A backend that has passed its known-answer test.

    Args:
        device: "cuda" or "cuda:N" for a GPU, "cpu" for torch on the host, "reference" for numpy, "auto" for
            the first of them that is there and computes rightly.
        threads: how many may compute on the host, at least 1; None for all cores.
        loops: see `Loops`.

    Raises:
        BackendError: the device is unknown, not there, not installed, or computes wrongly on this machine.
    """
    if not is_device(device):
        raise BackendError(f"no device {device!r}: choose {', '.join(KINDS)} or cuda:0, cuda:1, ...")
    if device == "reference":
        backend = ReferenceBackend()
        check_backend(backend)
        return backend
    if device == "cpu":
        return _open_cpu(threads, loops)
    if device == "auto":
        for kind in ("cuda", "cpu"):
            try:
                return select_backend(kind, threads=threads, loops=loops)
            except BackendError:
                continue
        return select_backend("reference")
    return _open_cuda(int(device.partition(":")[2] or "0"))


def present_devices() -> list[Device]:
    """What could be chosen here, by name, without "auto"; whether it computes rightly is another question."""
    if not _has_torch():
        return ["reference"]
    count = import_module("torch").cuda.device_count()
    return [*(f"cuda:{index}" for index in range(count)), "cpu", "reference"]


def _open_cpu(threads: int | None, loops: Loops) -> Backend:
    _require_torch("cpu")
    # Imported by name: torch takes a second to load and stays out of every process that does not ask for it.
    plain = import_module("pouw.backends.cpu").open_cpu(threads=threads)
    if loops == "never" or find_spec("numba") is None:
        return cast(Backend, plain)
    tiered = import_module("pouw.backends.tiered").TieredCpu(plain)
    if loops == "now":
        tiered.prepare()
    else:
        tiered.start(only_if_kept=True)
    return cast(Backend, tiered)


def _open_cuda(index: int) -> Backend:
    _require_torch("cuda")
    # Asked here: the module's kernels are made as it is imported.
    if find_spec("triton") is None:
        raise BackendError("the cuda backend needs triton, which torch's builds for CUDA bring along")
    return cast(Backend, import_module("pouw.backends.cuda").open_cuda(index))


def _require_torch(device: str) -> None:
    if not _has_torch():
        raise BackendError(
            f"the {device} backend needs torch, which is not installed: pip install 'headrace[work]'"
        )


def _has_torch() -> bool:
    return find_spec("torch") is not None
