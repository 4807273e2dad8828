"""A miner on a full disk: what was compiled cannot be kept, and the work goes on."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("numba")

PROGRAM = """
import resource
import numpy as np
from pouw.kernels.compiled import compiled

@compiled
def double(values):
    for i in range(len(values)):
        values[i] *= 2

# No file may grow beyond 100 bytes: numba's own raises an OSError, as on a full disk.
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
values = np.arange(4)
double(values)
print(values.tolist())
"""


def test_loops_that_cannot_be_kept_are_run_all_the_same(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    root = str(Path(__file__).resolve().parents[2])
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path / "cache"), "PYTHONPATH": root}
    ran = subprocess.run(
        [sys.executable, program], check=False, capture_output=True, text=True, env=environment, cwd=root
    )
    assert ran.stdout == "[0, 2, 4, 6]\n", ran.stderr
    assert "compiled loops are not kept: " in ran.stderr
