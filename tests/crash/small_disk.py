"""A disk of a few hundred kilobytes in memory, for real files that find no room."""

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def small_disk(size: int) -> Iterator[Path]:
    """A folder on a file system of its own with so many bytes; skips the test where none can be had."""
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    with tempfile.TemporaryDirectory() as scratch:
        mount = ("mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", scratch)
        mounted = subprocess.run(mount, check=False, capture_output=True, text=True)
        if mounted.returncode:
            pytest.skip(f"no disk can be mounted here: {mounted.stderr.strip()}")
        try:
            yield Path(scratch)
        finally:
            subprocess.run(("umount", scratch), check=True)
