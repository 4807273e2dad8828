"""Every command that a README names has a help that exits with 0, shows an example and measures nothing."""

import re
import sys
from importlib import import_module
from importlib.util import find_spec
from inspect import signature

import pytest

from tests.house import PACKAGES, ROOT

pytest.importorskip("torch", reason="the commands that measure import torch")
pytest.importorskip("transformers", reason="a command trains models with it")

UNLIKE = {"tests.pouw.bare": "hands every argument on to pytest, --help too"}
"""Commands without a help of their own, each with its reason."""


def documented() -> list[str]:
    """Modules of ours after `python -m` in any README or chapter."""
    found: set[str] = set()
    for path in sorted(ROOT.rglob("*.md")):
        if not any(part.startswith(".") for part in path.relative_to(ROOT).parts):
            found.update(re.findall(r"python3? -m ([A-Za-z0-9_.]*\w)", path.read_text(encoding="utf-8")))
    return sorted(name for name in found if name.partition(".")[0] in {*PACKAGES, "tests"})


def test_the_commands_are_found() -> None:
    assert {"tests.fuzz", "tests.pouw.costs", "tools.simulate", *UNLIKE} <= set(documented())


@pytest.mark.parametrize("name", [name for name in documented() if name not in UNLIKE])
def test_a_command_explains_itself(
    name: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """In this process: loading torch once for each of two dozen commands would take a minute."""
    package = find_spec(name)
    assert package is not None, f"a README names {name}, which is not there"
    main = import_module(f"{name}.__main__" if package.submodule_search_locations else name).main
    monkeypatch.setattr(sys, "argv", [name, "--help"])
    with pytest.raises(SystemExit) as ended:
        # Some end themselves, some leave that to who calls them.
        sys.exit(main(*([["--help"]] if signature(main).parameters else [])))
    assert ended.value.code == 0
    usage, _, explained = capfd.readouterr().out.partition("\n\n")
    assert usage.startswith("usage: ")
    assert f"python -m {name}" in " ".join(explained.split()), "no example"
