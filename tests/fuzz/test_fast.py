"""The fuzzer at the decoder's own speed finds all that it looks for, and follows what is new."""

import random
from collections.abc import Callable

import pytest

from tests.fuzz.canary import Canary, canary
from tests.fuzz.fast import Corpus, Finding, TookTooLong, TookTooMuch, fuzz
from tests.fuzz.target import Target


def _target(read: Callable[[bytes], object], *, longest: int = 64) -> Target:
    return Target(read, (ValueError,), lambda _: [b"seed"], longest=longest)


def _fuzz(target: Target, *, runs: int = 20_000, patience_s: float = 60.0) -> list[bytes]:
    kept: list[bytes] = []
    corpus = Corpus(target, target.seeds(random.Random(0)))
    fuzz(target, corpus, runs=runs, chance=random.Random(1), keep=kept.append, patience_s=patience_s)
    return kept


def _found(target: Target, *, patience_s: float = 60.0) -> BaseException | None:
    with pytest.raises(Finding) as finding:
        _fuzz(target, patience_s=patience_s)
    assert finding.value.data
    return finding.value.__cause__


def test_a_planted_bug_is_found():
    assert isinstance(_found(canary("status")), Canary)


def test_one_input_that_takes_too_long_is_found():
    def read(data: bytes) -> None:
        while len(data) > 8:
            pass

    assert isinstance(_found(_target(read), patience_s=0.05), TookTooLong)


def test_an_input_that_takes_too_much_memory_is_found():
    assert isinstance(_found(_target(lambda data: data * (1 << 20))), TookTooMuch)


def test_inputs_that_are_refused_by_a_new_line_join_the_corpus_and_lead_on():
    def read(data: bytes) -> None:
        if not data.startswith(b"\x7f"):
            raise ValueError("first")
        if not data.startswith(b"\x7f\x90"):
            raise ValueError("second")
        if not data.startswith(b"\x7f\x90\xc0"):
            raise ValueError("third")

    kept = _fuzz(_target(read))
    assert len(kept) == 2, [data.hex() for data in kept]
    assert kept[0].startswith(b"\x7f")
    assert kept[1].startswith(b"\x7f\x90")


def test_no_input_is_longer_than_the_target_wants():
    seen: list[int] = []
    _fuzz(_target(lambda data: seen.append(len(data)), longest=16), runs=500)
    assert max(seen) == 16
