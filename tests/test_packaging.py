"""What is installed, and from which versions: six packages, their data, and pins that hold everything."""

import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

from tests.house import PACKAGES, ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PINS = [
    line
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    if line and line[0] != "#"
]


def canonical(name: str) -> str:
    """A distribution's name as the packaging rules compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def pinned() -> dict[str, str]:
    """Pinned version of each distribution, by canonical name."""
    return {
        canonical(name): version for name, version in (pin.split(";")[0].strip().split("==") for pin in PINS)
    }


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel built from a copy: setuptools leaves its traces in the folder it builds from."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for package in PACKAGES:
        shutil.copytree(ROOT / package, source / package, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, source)
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
    ]
    subprocess.run([*command, "--wheel-dir", str(folder), str(source)], check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_holds_the_six_packages_and_no_others(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        top = {name.split("/")[0] for name in archive.namelist()}
    assert {name for name in top if not name.endswith(".dist-info")} == set(PACKAGES)


def test_the_wheel_holds_every_source_and_data_file(wheel: Path) -> None:
    tracked = subprocess.run(
        ["git", "ls-files", *PACKAGES], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    with zipfile.ZipFile(wheel) as archive:
        assert [name for name in tracked if name not in archive.namelist() and (ROOT / name).exists()] == []


def test_the_wheel_types_its_callers(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        assert {f"{package}/py.typed" for package in PACKAGES} <= set(archive.namelist())


def test_no_other_distribution_uses_our_names() -> None:
    """pip lets two distributions write into one folder without a word.

    Ours is found as often as its metadata lies on the path: a checkout may hold some beside the installed.
    """
    owners = metadata.packages_distributions()
    assert {package: set(owners.get(package, ["headrace"])) for package in PACKAGES} == {
        package: {"headrace"} for package in PACKAGES
    }


def test_torch_is_pinned_first() -> None:
    assert PINS[0] == "torch==2.13.0"


def test_a_pin_is_a_name_and_a_version() -> None:
    """No address of an index and no path of a machine: the file must mean the same everywhere."""
    assert [pin for pin in PINS if not re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.]+( ; [^@/]+)?", pin)] == []


def test_everything_installed_for_us_is_pinned() -> None:
    """Walks the requirements from ours downwards, as an installer does."""
    extras = PROJECT["project"]["optional-dependencies"]
    waiting = [*PROJECT["project"]["dependencies"], *extras["work"], *extras["test"]]
    seen: set[str] = set()
    while waiting:
        name = canonical(re.match(r"[A-Za-z0-9._-]+", waiting.pop()).group())  # type: ignore[union-attr]
        if name in seen:
            continue
        seen.add(name)
        try:
            requirements = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue  # another platform's requirement: it is not installed here, so there is nothing to walk
        waiting += [line for line in requirements if "extra ==" not in line]
    installed = {canonical(found.metadata["Name"]): found.version for found in metadata.distributions()}
    pins = pinned()
    assert sorted(name for name in seen & installed.keys() if name not in pins) == []
    # "2.13.0+cpu" is a build of 2.13.0: the pin means the public version.
    differing = {
        name: installed[name]
        for name in seen & installed.keys()
        if installed[name].split("+")[0] != pins[name]
    }
    assert differing == {}


def test_the_console_script_is_ours() -> None:
    assert PROJECT["project"]["scripts"] == {"headrace": "tools.cli.main:main"}
