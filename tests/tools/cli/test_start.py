"""The command starts fast and explains itself."""

import subprocess
import sys

import pytest

from tools.cli import groups
from tools.cli.lazy import LazyGroup
from tools.cli.main import main

OURS = [
    (name, *rest)
    for name, rest in [
        (name, (sub,)) if sub else (name, ())
        for name in main.list_commands(None)
        if name != "testnet"
        for sub in (getattr(groups, name).list_commands(None) if hasattr(groups, name) else [None])
    ]
]


@pytest.mark.parametrize("words", [(), ("task",), ("key", "new"), ("--version",)])
def test_help_loads_nothing_heavy(words):
    arguments = list(words) if words == ("--version",) else [*words, "--help"]
    script = (
        "import sys\n"
        "from tools.cli.main import main\n"
        "try:\n"
        f"    main({arguments!r})\n"
        "except SystemExit as end:\n"
        "    assert not end.code\n"
        "heavy = {'trio', 'torch', 'libp2p', 'numpy', 'h11', 'plyvel'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, stdout=subprocess.DEVNULL)


@pytest.mark.parametrize("words", OURS, ids=" ".join)
def test_every_command_has_help_with_an_example(headrace, words):
    result = headrace(*words, "--help")
    assert result.code == 0
    assert "Example" in result.out
    assert f"headrace {' '.join(words)}" in result.out.split("Example", 1)[1]


def test_the_group_names_what_each_command_says_of_itself():
    for name in main.list_commands(None):
        if name == "testnet":
            continue
        command = main.get_command(None, name)
        assert command is not None
        assert command.name == name
        if isinstance(command, LazyGroup):
            for sub in command.list_commands(None):
                assert command.get_command(None, sub).name == sub


def test_usage_errors_exit_2(headrace):
    assert headrace("nope").code == 2
    result = headrace("key", "new", "--json")
    assert result.code == 2
    assert result.error["code"] == "USAGE"
    assert result.error["next"] == "see `headrace key new --help`"


def test_nobody_home_exits_3(headrace):
    result = headrace("status", "--rpc", "http://127.0.0.1:9", "--json")
    assert result.code == 3
    assert result.out == ""
    assert result.error["code"] == "UNREACHABLE"
