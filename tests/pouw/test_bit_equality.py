"""Roots are the same in every environment; all of them with `pytest -m slow`, some of them always."""

import pytest

from tests.pouw.bit_equality import SHORT, check, differences, environments, run

pytest.importorskip("torch", reason="the environments are torch's")

SOME = ("reference", "cpu, 2 threads, compiled loops", "cpu, ONEDNN_MAX_CPU_ISA=AVX2 from the start")


def test_some_environments_agree() -> None:
    expected: dict[str, str] = {}
    for environment in environments(SHORT, short=True):
        if environment.label in SOME:
            assert differences(environment, run(environment), expected) == []


@pytest.mark.slow
def test_all_environments_agree() -> None:
    assert [(environment.label, found) for environment, _, found in check(short=False) if found] == []
