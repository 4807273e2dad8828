"""The script that runs before anything is installed."""

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.house import ROOT, imported
from tools import bootstrap

SCRIPT = Path("tools/bootstrap.py")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with the script and what its fingerprint is made of."""
    (tmp_path / "tools").mkdir()
    shutil.copy(ROOT / SCRIPT, tmp_path / SCRIPT)
    for name in bootstrap.INPUTS:
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "tools" / "check.py").write_text("import sys; print('checking', *sys.argv[1:])\n")
    return tmp_path


def run(checkout: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(checkout / SCRIPT), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_it_needs_nothing_but_the_standard_library() -> None:
    assert {name.split(".")[0] for name in imported(SCRIPT)} <= sys.stdlib_module_names


def test_an_old_python_can_read_it() -> None:
    """Else an old Python answers with a syntax error instead of the sentence that says what to do."""
    ast.parse((ROOT / SCRIPT).read_text(encoding="utf-8"), feature_version=(3, 6))


def test_without_a_command_it_says_how_to_use_it(checkout: Path) -> None:
    done = run(checkout)
    assert (done.returncode, done.stdout.strip()) == (0, bootstrap.USAGE)


def test_a_foreign_environment_is_left_alone(checkout: Path) -> None:
    (checkout / ".venv").mkdir()
    (checkout / ".venv" / "precious").write_text("kept")
    done = run(checkout, "test")
    assert done.returncode == 1
    assert f"{checkout / '.venv'} exists and was not made by this script" in done.stderr
    assert (checkout / ".venv" / "precious").read_text() == "kept"


def test_a_finished_environment_is_used_as_it_is(checkout: Path) -> None:
    (checkout / ".venv" / "bin").mkdir(parents=True)
    (checkout / ".venv" / "bin" / "python").symlink_to(sys.executable)
    program = (
        "import sys; sys.path.insert(0, 'tools'); import bootstrap; print(bootstrap.fingerprint(), end='')"
    )
    stamp = subprocess.run(
        [sys.executable, "-c", program], cwd=checkout, capture_output=True, text=True, check=True
    )
    (checkout / ".venv" / "headrace.stamp").write_text(stamp.stdout)
    done = run(checkout, "test", "-k", "transfer")
    assert (done.returncode, done.stdout, done.stderr) == (0, "checking -k transfer\n", "")


def test_changed_pins_make_another_fingerprint(checkout: Path) -> None:
    program = (
        "import sys; sys.path.insert(0, 'tools'); import bootstrap; print(bootstrap.fingerprint(), end='')"
    )
    prints = []
    for extra in ("", "another==1\n"):
        with (checkout / "constraints.txt").open("a") as pins:
            pins.write(extra)
        command = [sys.executable, "-c", program]
        prints.append(
            subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=True).stdout
        )
    assert prints[0] != prints[1]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_checkout_is_explained(checkout: Path) -> None:
    checkout.chmod(0o500)
    done = run(checkout, "test")
    assert (done.returncode, "must be writable" in done.stderr) == (1, True)


@pytest.mark.parametrize(
    ("line", "advice"),
    [
        ("NewConnectionError('<pip>: Failed to establish a new connection')", "check network and proxy"),
        ("OSError: [Errno 28] No space left on device", "The disk is full"),
        ("ERROR: No matching distribution found for plyvel==1.5.1", "No file of a pinned version"),
        (
            "ERROR: Cannot install setuptools because these have conflicting dependencies.",
            "No file of a pinned",
        ),
        ("error: command '/usr/bin/gcc' failed with exit code 1", "python3.11 tools/bootstrap.py"),
        ("Segmentation fault", "pip's own"),
    ],
)
def test_a_failure_says_what_to_do(line: str, advice: str) -> None:
    message = bootstrap.failure("Headrace", ["before", line])
    assert line in message
    assert advice in message
