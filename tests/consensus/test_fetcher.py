"""What is missing is asked for where it is, whoever pretends to have it."""

import random
from collections.abc import Generator
from contextlib import suppress
from dataclasses import replace

import pytest
import trio
import trio.lowlevel
from trio.testing import MockClock

from chain.codec import encode
from chain.types.block import Block
from consensus.fetcher import TRIED_PEERS, Fetcher
from consensus.messages import Certificate
from consensus.simplex import effects
from consensus.sync.requests import FETCH, MAX_REQUEST, FetchRequest, FetchResponse
from p2p.memory import open_hub
from p2p.memory_node import MemoryNetwork
from p2p.network import PeerId, RequestFailed
from tests.consensus.cluster import COMMITTEE
from tests.consensus.fakes import genesis

BLOCK = Block(replace(genesis(COMMITTEE), height=1), ())
ROOM = len(encode(BLOCK))
"""`max_block_bytes` of the chain here: the block fills it."""
QUESTION = encode(FetchRequest((BLOCK.digest,) * 8, 0, 0, 0))
KEYS = tuple(validator.consensus_key for validator in COMMITTEE.validators)


@pytest.fixture
def autojump_clock() -> MockClock:
    return MockClock(autojump_threshold=0)


def nothing_here(_question: FetchRequest) -> Generator[None, None, bytes]:
    yield
    return encode(FetchResponse((), ()))


async def found_nothing(*_answer: object) -> None:
    raise AssertionError("nobody fetches here")


@pytest.mark.parametrize("strangers", [TRIED_PEERS, 20])
async def test_strangers_that_repeat_votes_cannot_keep_a_body_away(
    strangers: int, autojump_clock: MockClock
) -> None:
    async def answers_nothing(_peer: PeerId, _payload: bytes) -> bytes:
        await trio.lowlevel.checkpoint()
        return encode(FetchResponse((), ()))

    async def answers(_peer: PeerId, _payload: bytes) -> bytes:
        await trio.lowlevel.checkpoint()
        return encode(FetchResponse((BLOCK,), ()))

    async def found(
        _peer: PeerId, _wanted: effects.Fetch, blocks: tuple[Block, ...], _c: tuple[Certificate, ...]
    ) -> None:
        await trio.lowlevel.checkpoint()
        got.extend(blocks)

    got: list[Block] = []
    async with open_hub(rng=random.Random(1)) as hub:
        us = hub.join(PeerId("us"))
        fetcher = Fetcher(us, found=found, shelf=nothing_here, timeout=5.0, max_block_bytes=ROOM)
        names = [PeerId(f"a{number}") for number in range(strangers)]
        for name in names:
            hub.join(name).set_handler(FETCH, answers_nothing, limit=MAX_REQUEST)
        hub.join(PeerId("honest")).set_handler(FETCH, answers, limit=MAX_REQUEST)
        await trio.sleep(1)
        for key, name in zip(KEYS, names, strict=False):
            # Whoever brought a vote last is taken for its maker.
            fetcher.learn(key, name)
        for _ in range(strangers):
            await fetcher.fetch(effects.Fetch(0, (BLOCK.digest,), 0, 0, KEYS))
    assert BLOCK in got


@pytest.mark.parametrize(("room", "is_taken"), [(ROOM, True), (ROOM - 16, False)])
async def test_a_body_larger_than_a_block_may_be_is_not_taken(
    room: int, is_taken: bool, autojump_clock: MockClock
) -> None:
    async def answers(_peer: PeerId, _payload: bytes) -> bytes:
        await trio.lowlevel.checkpoint()
        return encode(FetchResponse((BLOCK,), ()))

    async def found(_peer: PeerId, _wanted: effects.Fetch, blocks: tuple[Block, ...], _c: object) -> None:
        await trio.lowlevel.checkpoint()
        got.extend(blocks)

    got: list[Block] = []
    async with open_hub(rng=random.Random(1)) as hub:
        us = hub.join(PeerId("us"))
        hub.join(PeerId("peer")).set_handler(FETCH, answers, limit=MAX_REQUEST)
        fetcher = Fetcher(us, found=found, shelf=nothing_here, timeout=5.0, max_block_bytes=room)
        await trio.sleep(1)
        await fetcher.fetch(effects.Fetch(0, (BLOCK.digest,), 0, 0, ()))
    assert got == [BLOCK] * is_taken


async def ask(network: MemoryNetwork, whom: PeerId) -> None:
    """A byte is all of the answer that is wanted."""
    with suppress(RequestFailed):
        await network.request(whom, FETCH, QUESTION, timeout=5, limit=1)


async def test_one_answer_is_made_at_a_time(autojump_clock: MockClock) -> None:
    active = most = 0

    def shelf(_question: FetchRequest) -> Generator[None, None, bytes]:
        nonlocal active, most
        active += 1
        most = max(most, active)
        for _ in range(8):
            yield
        active -= 1
        return encode(FetchResponse((BLOCK,), ()))

    async with open_hub(rng=random.Random(1)) as hub:
        us = hub.join(PeerId("us"))
        Fetcher(us, found=found_nothing, shelf=shelf, timeout=5.0, max_block_bytes=ROOM).register()
        mallory = hub.join(PeerId("mallory"))
        async with trio.open_nursery() as nursery:
            for _ in range(16):
                nursery.start_soon(ask, mallory, us.local_id)
    assert most == 1


async def test_strangers_shut_no_validator_out(autojump_clock: MockClock) -> None:
    """100 of them ask without pause what takes a node 10 ms to answer: 40 ms, at its share of the time."""

    def shelf(_question: FetchRequest) -> Generator[None, None, bytes]:
        autojump_clock.jump(0.01)
        yield
        return encode(FetchResponse((BLOCK,), ()))

    async with open_hub(rng=random.Random(1)) as hub:
        us, validator = hub.join(PeerId("us")), hub.join(PeerId("validator"))
        hub.kept.add(validator.local_id)
        Fetcher(us, found=found_nothing, shelf=shelf, timeout=5.0, max_block_bytes=ROOM).register()

        async def ask_for_ever(name: str) -> None:
            stranger = hub.join(PeerId(name))
            while True:
                await ask(stranger, us.local_id)

        async with trio.open_nursery() as nursery:
            for number in range(100):
                nursery.start_soon(ask_for_ever, f"s{number}")
            await trio.sleep(1)
            for _ in range(20):
                with trio.fail_after(0.15):
                    await validator.request(us.local_id, FETCH, QUESTION, timeout=5, limit=1 << 20)
            nursery.cancel_scope.cancel()
