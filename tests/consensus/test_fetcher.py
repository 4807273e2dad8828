"""What is missing is asked for where it is, whoever pretends to have it."""

import random
from dataclasses import replace

import pytest
import trio
import trio.lowlevel
from trio.testing import MockClock

from chain.codec import encode
from chain.types.block import Block
from consensus import effects
from consensus.fetcher import TRIED_PEERS, Fetcher
from consensus.messages import Certificate
from consensus.requests import FETCH, MAX_REQUEST, FetchResponse
from p2p.memory import open_hub
from p2p.network import PeerId
from tests.consensus.cluster import COMMITTEE
from tests.consensus.fakes import genesis

BLOCK = Block(replace(genesis(COMMITTEE), height=1), ())
KEYS = tuple(validator.consensus_key for validator in COMMITTEE.validators)


@pytest.fixture
def autojump_clock() -> MockClock:
    return MockClock(autojump_threshold=0)


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
        fetcher = Fetcher(us, found=found, shelf=lambda _: (iter(()), []), timeout=5.0)
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
