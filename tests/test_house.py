"""The house rules that no linter knows, checked on the syntax trees.

Each test lists every breach at once, as `file:line what`, so that one run is enough to mend them all.
"""

import ast
import re
from pathlib import Path

from tests.house import PACKAGES, ROOT, functions, imported, sources, text, tree

FILE_LINES = 400
FUNCTION_LINES = 60

INTEGERS_ONLY = ("chain", "consensus", "pouw/trees", "pouw/proofs", "pouw/arithmetic", "pouw/ops", "genesis")
"""Everything that two nodes must compute alike, bit for bit."""

FLOATS_ALLOWED = {
    "genesis/train_digits.py": "trains a model before any chain exists; what it leaves behind is integers",
    "consensus/alarms.py": "waits of the trio shell are seconds of this machine, agreed with nobody",
    "consensus/sync/crew.py": "as in alarms",
    "consensus/sync/download.py": "as in alarms",
    "consensus/engine.py": "as in alarms",
    "consensus/inputs.py": "as in alarms",
    "consensus/sync/piece_pool.py": "as in alarms",
    "consensus/sync/serving.py": "as in alarms",
    "consensus/sync/state_sync.py": "as in alarms",
    "consensus/sync/block_sync.py": "as in alarms",
    "consensus/watch.py": "as in alarms",
    "pouw/arithmetic/cross_entropy.py": "divides decimals of thirty digits, once, for a table of integers",
    "pouw/arithmetic/logarithms.py": "as in cross_entropy",
}
"""Files or folders below INTEGERS_ONLY whose numbers never reach another node, each with its reason."""

PURE = (
    "chain/codec.py",
    "chain/execution",
    "chain/hashing.py",
    "chain/state",
    "chain/types",
    "pouw/arithmetic",
    "pouw/ops",
    "pouw/proofs",
    "pouw/trees",
)
"""What must give the same result on every machine, at every time: nothing of the machine may be in reach."""

IMPURE_MODULES = {"os", "pathlib", "random", "secrets", "socket", "subprocess", "tempfile", "time", "trio"}


def test_files_stay_readable_in_one_sitting() -> None:
    long = [(path, len(text(path).splitlines())) for path in sources(*PACKAGES, "tests")]
    assert [f"{path}: {lines} lines" for path, lines in long if lines > FILE_LINES] == []


def test_functions_stay_on_one_screen() -> None:
    assert [
        f"{path}:{function.lineno} {function.name}: {length} lines"
        for path in sources(*PACKAGES)
        for function in functions(path)
        if (length := (function.end_lineno or 0) - function.lineno + 1) > FUNCTION_LINES
    ] == []


def test_nothing_is_left_for_later() -> None:
    later = re.compile(r"#\s*(TODO|FIXME|XXX|HACK)\b")
    assert [
        f"{path}:{number} {line.strip()}"
        for path in sources(*PACKAGES, "tests")
        for number, line in enumerate(text(path).splitlines(), start=1)
        if later.search(line)
    ] == []


def test_only_programs_print() -> None:
    assert [
        f"{path}:{node.lineno} print"
        for path in sources(*(package for package in PACKAGES if package != "tools"))
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ] == []


def test_a_catch_all_gives_its_reason() -> None:
    """`except Exception` swallows our own mistakes; where it is right, a comment beside it says why."""
    assert [
        f"{path}:{node.lineno} catches everything without a reason"
        for path in sources(*PACKAGES)
        for node in ast.walk(tree(path))
        if isinstance(node, ast.ExceptHandler) and catches_all(node) and not has_comment(path, node.lineno)
    ] == []


def has_comment(path: Path, number: int) -> bool:
    """Whether the line or a neighbour carries a comment that is more than a linter's code."""
    near = text(path).splitlines()[number - 2 : number + 1]
    comments = [line.split("#", 1)[1] for line in near if "#" in line]
    return any(re.sub(r"noqa: [A-Z0-9, ]+", "", comment).strip(" -#") for comment in comments)


def catches_all(handler: ast.ExceptHandler) -> bool:
    if handler.type is None:
        return True
    names = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    broad = {"Exception", "BaseException"}
    # A handler that only re-raises hides nothing.
    return any(isinstance(name, ast.Name) and name.id in broad for name in names) and not (
        isinstance(handler.body[-1], ast.Raise) and handler.body[-1].exc is None
    )


def test_every_thread_has_a_limit_of_its_own() -> None:
    """Trio's default lets 40 threads run in all: whoever keeps them busy would stop everybody else's."""
    unlimited = []
    for path in sources(*PACKAGES):
        calls = [node for node in ast.walk(tree(path)) if isinstance(node, ast.Call)]
        limited = [
            part
            for call in calls
            if any(keyword.arg == "limiter" for keyword in call.keywords)
            for part in (call.func, *call.args)
        ]
        unlimited += [
            f"{path}:{node.lineno} a thread without a limiter"
            for node in ast.walk(tree(path))
            if isinstance(node, ast.Attribute) and ast.unparse(node) == "trio.to_thread.run_sync"
            if node not in limited
        ]
    assert unlimited == []


def test_nothing_agreed_is_a_float() -> None:
    assert [
        f"{path}:{line} {what}"
        for path in sources(*INTEGERS_ONLY)
        if not any(Path(allowed) in (path, *path.parents) for allowed in FLOATS_ALLOWED)
        for line, what in floats(path)
    ] == []


def floats(path: Path) -> list[tuple[int, str]]:
    """Lines of a file where a float can come from, with what is there."""
    found = []
    for node in ast.walk(tree(path)):
        match node:
            case ast.Constant(value=float() | complex() as value):
                found.append((node.lineno, f"the float {value}"))
            case ast.BinOp(op=ast.Div()) if not joins_paths(node):
                found.append((node.lineno, "true division"))
            case ast.AugAssign(op=ast.Div()):
                found.append((node.lineno, "true division"))
            case ast.Call(func=ast.Name(id="float")):
                found.append((node.lineno, "float(...)"))
    return found


def joins_paths(node: ast.BinOp) -> bool:
    """Whether a division is pathlib's: one side is a string, or is called after a path, folder or file."""
    return any(
        (isinstance(side, ast.Constant | ast.JoinedStr) and not isinstance(getattr(side, "value", ""), int))
        or re.search(r"(?i)path|folder|directory|home|root|__file__|name", ast.unparse(side)) is not None
        for side in (node.left, node.right)
    )


def test_rules_reach_nothing_of_the_machine() -> None:
    assert [
        f"{path} imports {name}"
        for path in sources(*PURE)
        for name in sorted(imported(path))
        if name.split(".")[0] in IMPURE_MODULES
    ] == []


def test_one_path_per_name() -> None:
    """An `__init__.py` that re-exports gives every name two paths and every import the whole package."""
    assert [
        f"{path} holds more than a docstring"
        for path in sources(*PACKAGES)
        if path.name == "__init__.py" and [node for node in tree(path).body if not is_docstring(node)]
    ] == []


def is_docstring(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def test_every_public_name_says_what_it_is() -> None:
    silent = [
        f"{path}: no module docstring" for path in sources(*PACKAGES) if not ast.get_docstring(tree(path))
    ]
    definitions = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    silent += [
        f"{path}:{node.lineno} {node.name}: no docstring"
        for path in sources(*PACKAGES)
        for node in tree(path).body
        if isinstance(node, definitions) and not node.name.startswith("_") and not ast.get_docstring(node)
    ]
    assert silent == []


def test_no_module_is_a_drawer_for_everything() -> None:
    drawers = {"utils.py", "util.py", "helpers.py", "common.py", "misc.py"}
    assert [str(path) for path in sources(*PACKAGES) if path.name in drawers] == []


def test_every_test_folder_is_a_package() -> None:
    """Without it `import chain` inside tests/chain finds the tests instead of the package."""
    folders = {path.parent for path in sources("tests")}
    assert [str(folder) for folder in sorted(folders) if not (ROOT / folder / "__init__.py").exists()] == []


def test_every_package_has_its_chapter() -> None:
    assert [package for package in PACKAGES if not (ROOT / package / "README.md").is_file()] == []
