"""What the tests of the repository itself know about it: its packages, files and syntax trees."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

PACKAGES = ("chain", "consensus", "genesis", "p2p", "pouw", "tools")
"""The six floors and nothing else."""


def sources(*folders: str) -> list[Path]:
    """Python files under the given folders or of the given names, relative to the root, in a fixed order."""
    found: set[Path] = set()
    for folder in folders:
        path = ROOT / folder
        found.update([path] if path.is_file() else path.rglob("*.py"))
    return sorted(path.relative_to(ROOT) for path in found)


@cache
def text(path: Path) -> str:
    """Source text of a file named relative to the root."""
    return (ROOT / path).read_text(encoding="utf-8")


@cache
def tree(path: Path) -> ast.Module:
    """Syntax tree of a file named relative to the root."""
    return ast.parse(text(path), str(path))


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Every function of a file, methods and nested ones included."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def imported(path: Path) -> set[str]:
    """Every module that a file imports, at its top or inside a function."""
    names: set[str] = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
    return names
