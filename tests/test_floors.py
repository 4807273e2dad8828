"""The floors of DESIGN section 3: who may import whom, and what is loaded by whom.

The import contracts are data in pyproject.toml and are run here. The rest is what a static graph cannot see:
what a process has really loaded.
"""

import subprocess
import sys
import tomllib

import pytest
from importlinter.cli import lint_imports

from tests.house import PACKAGES, ROOT, sources

HEAVY = ("torch", "triton", "libp2p", "nacl", "plyvel", "msgpack", "trio", "httpx", "starlette", "anycorn")


def loaded_by(module: str) -> set[str]:
    """Which of the libraries a fresh interpreter holds after importing a module, or several."""
    program = f"import sys, {module}; print(*(name for name in {HEAVY!r} if name in sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


def test_the_contracts_are_kept() -> None:
    assert lint_imports(config_filename=str(ROOT / "pyproject.toml"), no_logo=True) == 0


def test_the_contracts_name_every_floor() -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        linter = tomllib.load(file)["tool"]["importlinter"]
    layers = [name.strip() for layer in linter["contracts"][0]["layers"] for name in layer.split("|")]
    assert sorted(layers) == sorted(linter["root_packages"]) == sorted(PACKAGES)


@pytest.mark.parametrize(
    ("module", "allowed"),
    [
        ("pouw.verifier", set()),
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
