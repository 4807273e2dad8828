"""The package by itself, on a machine that has nothing beyond what it says it needs."""

import subprocess
import sys

import pytest


@pytest.mark.slow
def test_the_tests_pass_on_a_bare_machine() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.pouw.bare"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:]
    assert "left out" in done.stdout
