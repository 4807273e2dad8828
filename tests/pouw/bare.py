"""`python -m tests.pouw.bare [pytest arguments]`: the tests of `pouw` on a bare machine.

Makes a virtual environment in a temporary folder that has torch, numpy, blake3, pytest, what these themselves
require, and nothing else; copies `pouw` and `tests/pouw` there and nothing else; and runs the tests. The
libraries are linked from the environment that runs this, so that nothing is fetched.
"""

import os
import subprocess
import sys
import tempfile
import venv
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from re import match
from shutil import copytree, ignore_patterns

ROOT = Path(__file__).parents[2]
LIBRARIES = ("torch", "numpy", "blake3", "pytest")


def required() -> set[str]:
    """The four, and what they require in turn, as far as it is installed: the rest is for other machines."""
    found: set[str] = set()
    ahead = list(LIBRARIES)
    while ahead:
        try:
            known = distribution(ahead.pop())
        except PackageNotFoundError:
            continue
        if known.name in found:
            continue
        found.add(known.name)
        wanted = [line for line in known.requires or [] if "extra ==" not in line]
        ahead += [name[0] for line in wanted if (name := match(r"[\w.-]+", line))]
    return found


def link(names: set[str], target: Path) -> None:
    """Everything that the libraries put beside each other, linked."""
    for name in sorted(names):
        for file in distribution(name).files or []:
            top = file.parts[0]
            source = Path(str(distribution(name).locate_file(top)))
            if top not in ("..", "__pycache__") and source.exists() and not (target / top).exists():
                (target / top).symlink_to(source)


def main() -> int:
    """Run the tests; pytest's exit code."""
    with tempfile.TemporaryDirectory(prefix="pouw-bare-") as name:
        folder = Path(name)
        venv.create(folder / "v", symlinks=True)
        python = folder / "v" / "bin" / "python"
        packages = f"lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"
        link(required(), folder / "v" / packages)
        ours = ignore_patterns("__pycache__", ".hypothesis")
        copytree(ROOT / "pouw", folder / "pouw", ignore=ours)
        copytree(ROOT / "tests" / "pouw", folder / "tests" / "pouw", ignore=ours)
        (folder / "tests" / "__init__.py").touch()
        arguments = ["-p", "no:cacheprovider", "-m", "not slow", *sys.argv[1:], "tests/pouw"]
        environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
        return subprocess.run(
            [python, "-m", "pytest", *arguments], cwd=folder, env=environment, check=False
        ).returncode


if __name__ == "__main__":
    sys.exit(main())
