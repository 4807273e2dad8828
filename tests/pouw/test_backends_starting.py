"""Backends in processes that have just begun, or are about to end."""

import os
import subprocess
import sys
from pathlib import Path
from shutil import copytree, ignore_patterns

import pytest

import pouw

pytest.importorskip("torch", reason="the cpu backend needs torch")
pytest.importorskip("numba", reason="loops are compiled by numba")

ENDING = """
from pouw.backends.cpu import open_cpu
from pouw.backends.tiered import TieredCpu

TieredCpu(open_cpu(threads=2)).start()
"""

UNKEPT = """
import numpy as np
import pouw
from pouw.kernels import store
from pouw.kernels.products import greatest_rows

store.note_compiled()
out = np.zeros((2, 1), np.int8)
greatest_rows(np.array([[1, 5, 5], [9, 2, 3]], np.int8), out, 0, 2)
print(pouw.__file__, store.compiled_before(), out.tolist())
"""


def run(program: str, folder: Path | None = None, **environment: str) -> tuple[str, str]:
    """What a program printed and said."""
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip(), done.stderr.strip()


def test_a_program_that_ends_while_loops_are_prepared_says_nothing() -> None:
    assert run(ENDING) == ("", "")


def test_loops_that_cannot_be_kept_are_compiled_all_the_same(tmp_path: Path) -> None:
    """An installation that cannot be written to, whose user has no home."""
    package = tmp_path / "pouw"
    copytree(Path(pouw.__file__).parent, package, ignore=ignore_patterns("__pycache__"))
    # A file in the folder's place stops every user, root included.
    (package / "kernels" / "__pycache__").touch()
    nowhere = str(package / "kernels" / "__pycache__")
    printed = run(
        UNKEPT, tmp_path, HOME=nowhere, XDG_CACHE_HOME=nowhere, NUMBA_CACHE_DIR=nowhere, LOCALAPPDATA=nowhere
    )
    assert printed == (f"{package / '__init__.py'} False [[1], [0]]", "")
