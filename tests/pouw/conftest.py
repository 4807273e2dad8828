"""How these tests run on a machine that has torch, numpy, blake3 and pytest, and nothing else.

A property needs hypothesis: where that is missing it is skipped, and the examples beside it run all the same.
A file that needs anything else that is missing, itself or through what it imports, is left out, and the first
lines of the run say so. `tests/pouw/bare.py` makes such a machine.
"""

import ast
import sys
from collections.abc import Callable
from functools import cache
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from inspect import Signature, signature
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


class _Nothing:
    """Stands for every strategy of a library that is not there: whatever is done with it, it stays itself."""

    def __getattr__(self, name: str) -> "_Nothing":
        return self

    def __call__(self, *args: object, **options: object) -> "_Nothing":
        return self

    def __or__(self, other: object) -> "_Nothing":
        return self


def _strategy(name: str) -> _Nothing:
    # Whoever looks through all modules for their files must not find one here.
    if name.startswith("__"):
        raise AttributeError(name)
    return _Nothing()


def _without_hypothesis() -> None:
    def given(*drawn: object, **named: object) -> Callable[[Any], Any]:
        def skipped(test: Any) -> Any:
            def instead(**_: object) -> None:
                """A property."""

            instead.__name__ = test.__name__
            # What is not drawn is a parameter or a fixture, and pytest looks for its name.
            given = [p for p in signature(test).parameters.values() if p.name not in named]
            instead.__signature__ = Signature(given[: len(given) - len(drawn)])  # type: ignore[attr-defined]
            return pytest.mark.skip(reason="hypothesis is not installed")(instead)

        return skipped

    def unchanged(*_: object, **__: object) -> Callable[[Any], Any]:
        return lambda test: test

    module, strategies = ModuleType("hypothesis"), ModuleType("hypothesis.strategies")
    strategies.__getattr__ = _strategy  # type: ignore[method-assign]
    for name, value in {
        "given": given, "settings": unchanged, "example": unchanged, "assume": _Nothing(),
        "HealthCheck": _Nothing(), "strategies": strategies,
    }.items():  # fmt: skip
        setattr(module, name, value)
    # torch asks where modules come from when it loads its compiler.
    module.__spec__ = ModuleSpec("hypothesis", None)
    sys.modules.update({"hypothesis": module, "hypothesis.strategies": strategies})


@cache
def _source(name: str) -> Path | None:
    """The file of one of our modules."""
    base = ROOT / Path(*name.split("."))
    return next((path for path in (base.with_suffix(".py"), base / "__init__.py") if path.exists()), None)


@cache
def _imports(path: Path) -> frozenset[str]:
    """Modules that a file imports when it is imported; of `from a import b` both a and a.b."""
    names = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.update([node.module, *(f"{node.module}.{alias.name}" for alias in node.names)])
    return frozenset(names)


def _missing(path: Path) -> set[str]:
    """Libraries, and packages of ours, that a file needs and this machine does not have."""
    missing, seen, ahead = set(), set(), [path]
    while ahead:
        for name in _imports(ahead.pop()) - seen:
            seen.add(name)
            source = _source(name)
            if source is not None:
                ahead.append(source)
            elif (top := name.split(".")[0]) not in sys.modules and find_spec(top) is None:
                missing.add(top)
    return missing


BARE = find_spec("hypothesis") is None
if BARE:
    _without_hypothesis()

LEFT_OUT = {
    path.name: missing
    for path in sorted(Path(__file__).parent.glob("test_*.py"))
    if (missing := _missing(path))
}
if BARE:
    # It starts programs that draw their shapes, and no stand-in reaches into those.
    LEFT_OUT["test_bit_equality.py"] = {"hypothesis"}
collect_ignore = list(LEFT_OUT)


def pytest_configure(config: pytest.Config) -> None:
    """Name the marker, which on a bare machine no pyproject.toml does."""
    config.addinivalue_line("markers", "slow: minutes long; run with `pytest -m slow`")


def pytest_report_header() -> list[str]:
    """What is left out, and for want of what."""
    return [f"left out: {name} (no {', '.join(sorted(missing))})" for name, missing in LEFT_OUT.items()]
