"""The floors of DESIGN section 3: who may import whom, and what is loaded by whom.

The import contracts are data in pyproject.toml and are run here. The rest is what a static graph cannot see:
what a process has really loaded.
"""

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.house import PACKAGES, ROOT, sources

HEAVY = ("torch", "triton", "libp2p", "nacl", "plyvel", "msgpack", "trio", "h11")


def loaded_by(module: str) -> set[str]:
    """Which of the libraries a fresh interpreter holds after importing a module, or several."""
    program = f"import sys, {module}; print(*(name for name in {HEAVY!r} if name in sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


def lint(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run import-linter on a tree; as a process, for it configures logging for the one that it runs in."""
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-logo", *options]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_the_contracts_are_kept() -> None:
    done = lint(ROOT)
    assert done.returncode == 0, done.stdout


def test_the_contracts_name_every_floor() -> None:
    layers = [name.strip() for layer in linter()["contracts"][0]["layers"] for name in layer.split("|")]
    assert sorted(layers) == sorted(linter()["root_packages"]) == sorted(PACKAGES)


@pytest.mark.parametrize(
    ("module", "allowed"),
    [
        ("pouw.proofs.verifier", set()),
        ("chain.codec", {"msgpack"}),
        ("chain.store", {"msgpack", "plyvel", "nacl"}),
        ("p2p.network", {"trio"}),
        ("consensus.engine", {"trio", "msgpack", "plyvel", "nacl"}),
        ("tools.cli.main", set()),
    ],
)
def test_a_floor_loads_only_what_it_stands_on(module: str, allowed: set[str]) -> None:
    assert loaded_by(module) <= allowed


def test_a_node_never_loads_torch() -> None:
    """A validator verifies everything with numpy alone; 200 MB and a GPU stack stay out of its process."""
    modules = [".".join(path.with_suffix("").parts) for path in sources("tools/node")]
    assert "torch" not in loaded_by(", ".join(modules))


BREACHES = {
    "pouw/breach.py": "import chain.codec",
    "p2p/breach.py": "import pouw.proofs.verifier",
    "chain/breach.py": "import plyvel, torch",
    "chain/types/breach.py": "import msgpack",
    "consensus/breach.py": "import nacl.bindings",
    "genesis/breach.py": "import h11",
    "tools/node/breach.py": "import libp2p, numba, pouw.backends.cpu",
}
"""One file for each way to break the floors."""


def test_the_contracts_would_notice(tmp_path: Path) -> None:
    """A contract that always passes says nothing: every one must break on a tree made to break it."""
    for package in PACKAGES:
        shutil.copytree(
            ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__", "data")
        )
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for name, line in BREACHES.items():
        (tmp_path / name).write_text(line + "\n")
    (tmp_path / "pouw" / "proofs" / "verifier.py").write_text("import trio\n")
    done = lint(tmp_path, "--no-cache")
    assert done.returncode == 1
    assert " KEPT" not in done.stdout
    assert done.stdout.count(" BROKEN") == len(linter()["contracts"])


def linter() -> dict[str, Any]:
    """Import-linter's settings."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        settings: dict[str, Any] = tomllib.load(file)["tool"]["importlinter"]
    return settings
