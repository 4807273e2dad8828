"""Whether this machine has compiled the loops before, so that they load in a moment."""

import platform
from pathlib import Path

import llvmlite.binding
import numba
from blake3 import blake3

from pouw.kernels.products import requant_rows


def compiled_before() -> bool:
    """Whether `note_compiled` was called for the sources and the processor of today."""
    note = _note()
    return note is not None and note.exists()


def note_compiled() -> None:
    """Remember that every loop is compiled and was found exact; without a place to write, do nothing."""
    note = _note()
    if note is None:
        return
    try:
        note.touch()
    except OSError:
        # No longer to be written to: the next start compiles again, which is only slow.
        return


def _note() -> Path | None:
    """An empty file beside numba's, named by everything that makes those valid; None if it keeps none."""
    folder = requant_rows.stats.cache_path  # type: ignore[attr-defined]
    if folder is None:
        return None
    state = blake3(f"{numba.__version__} {platform.python_version()}".encode())
    state.update(llvmlite.binding.get_host_cpu_name().encode())
    for source in sorted(Path(__file__).parent.glob("*.py")):
        facts = source.stat()
        state.update(f"{source.name} {facts.st_size} {facts.st_mtime_ns}".encode())
    return Path(folder) / f"compiled-{state.hexdigest(8)}"
