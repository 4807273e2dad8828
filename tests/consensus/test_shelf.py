"""What others miss is handed out as it lies here, in steps of one body or certificate."""

from collections.abc import Generator
from dataclasses import replace

import pytest

from chain.codec import decode, encode
from chain.types.block import Block
from chain.types.statement import NOTHING, Kind
from consensus.messages import Certificate, Seal
from consensus.opening import open_epoch
from consensus.shelf import Shelf
from consensus.simplex import events
from consensus.simplex.protocol import Simplex
from consensus.sync.requests import MAX_ANSWER, MAX_DIGESTS, FetchRequest, FetchResponse
from tests.consensus.chains import chain_of

CHAIN = chain_of(8)
FINAL = [CHAIN.final_block(height) for height in range(1, 9)]
OPEN = Block(replace(CHAIN.final_head, height=9, epoch=2, parent=CHAIN.final[8]), ())


def instance() -> Simplex:
    made = Simplex(open_epoch(CHAIN, None))
    made.step(events.BlockFetched(OPEN, OPEN.digest))
    return made


def run(steps: Generator[None, None, bytes]) -> tuple[FetchResponse, int]:
    taken = 0
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return decode(FetchResponse, end.value, limit=MAX_ANSWER), taken
        taken += 1


def ask(shelf: Shelf, *digests: bytes) -> tuple[FetchResponse, int]:
    return run(shelf.answer(FetchRequest(digests, 2, 0, 0)))


def test_a_final_body_is_neither_decoded_nor_encoded(monkeypatch: pytest.MonkeyPatch) -> None:
    lying = {height: CHAIN.encoded_block(height) for height in range(1, 9)}

    def must_not(*_arguments: object) -> object:
        raise AssertionError("a final body was decoded or encoded")

    monkeypatch.setattr(CHAIN, "encoded_block", lying.get)
    monkeypatch.setattr(CHAIN, "block", must_not)
    monkeypatch.setattr("consensus.shelf.encode", must_not)
    response, steps = ask(Shelf(CHAIN, instance), *CHAIN.final[1:])
    assert list(response.blocks) == FINAL
    assert steps == MAX_DIGESTS


def test_genesis_and_what_is_not_here_are_left_out() -> None:
    response, _ = ask(Shelf(CHAIN, instance), CHAIN.final[0], bytes(32), OPEN.digest)
    assert response == FetchResponse((OPEN,), ())


def test_a_body_that_is_named_twice_is_sent_once() -> None:
    response, steps = ask(Shelf(CHAIN, instance), *[CHAIN.final[1]] * MAX_DIGESTS)
    assert (len(response.blocks), steps) == (1, 1)


def test_an_answer_ends_where_it_grows_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("consensus.shelf._BODY_BYTES", 2 * len(encode(FINAL[0])) + 10)
    response, _ = ask(Shelf(CHAIN, instance), *CHAIN.final[1:])
    assert list(response.blocks) == FINAL[:2]


def test_what_many_miss_at_once_is_encoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    encoded: list[object] = []

    def counted(record: object) -> bytes:
        encoded.append(record)
        return encode(record)

    monkeypatch.setattr("consensus.shelf.encode", counted)
    running = instance()
    shelf = Shelf(CHAIN, lambda: running)
    for _ in range(3):
        assert ask(shelf, OPEN.digest)[0].blocks == (OPEN,)
    assert encoded == [OPEN]


def test_certificates_take_a_step_each() -> None:
    running = instance()
    seals = tuple(Seal(number, bytes(64)) for number in range(4))
    kept = [Certificate(Kind.NULLIFY, 2, view, NOTHING, seals) for view in range(5)]
    for certificate in kept:
        running.step(events.CertificateSeen("peer", certificate))
    response, steps = run(Shelf(CHAIN, lambda: running).answer(FetchRequest((), 2, 1, 4)))
    assert list(response.certificates) == kept[1:4]
    assert steps == 3
    for other in (FetchRequest((), 1, 1, 4), FetchRequest((), 2, 4, 4)):
        assert run(Shelf(CHAIN, lambda: running).answer(other)) == (FetchResponse((), ()), 0)
