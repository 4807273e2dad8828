"""Whoever asks is answered in turn, however many others ask; and nobody waits for what nobody waits for."""

from collections.abc import Generator

import pytest
import trio
from trio.testing import MockClock

from chain.codec import encode
from chain.types.block import Block
from consensus.messages import Certificate
from consensus.sync.block_sync import Sync
from consensus.sync.requests import BLOCKS, BlocksRequest
from consensus.sync.serving import PATIENCE, Desk
from p2p.network import PeerId, RequestFailed, RequestRefused
from tests.consensus.chains import chain_of
from tests.consensus.cluster import open_cluster


@pytest.fixture
def autojump_clock() -> MockClock:
    return MockClock(autojump_threshold=0)


async def nothing(blocks: tuple[Block, ...], certificate: Certificate) -> None:
    raise AssertionError("nobody syncs here")


@pytest.mark.parametrize(("is_kept", "seconds"), [(False, 3.5), (True, 0.3)])
async def test_an_honest_peer_is_answered_among_many(
    autojump_clock: MockClock, is_kept: bool, seconds: float
) -> None:
    """95 peers that ask without pause, of a node that spends 8 ms on an answer."""
    source = chain_of(8)
    read = source.encoded_block

    def slow(height: int) -> bytes | None:
        autojump_clock.jump(0.008)
        return read(height)

    async with open_cluster() as cluster:
        server = cluster.stranger("server")
        Sync(server, source, nothing, request_timeout=1.0, poll_interval=1.0).register()
        source.encoded_block = slow
        question = encode(BlocksRequest(1, 1))

        async def ask(name: str) -> None:
            asker = cluster.stranger(name)
            while True:
                try:
                    await asker.request(server.local_id, BLOCKS, question, timeout=5.0, limit=1 << 20)
                except RequestFailed:
                    await trio.sleep(0.01)

        honest = cluster.stranger("honest")
        if is_kept:
            cluster.hub.kept.add(honest.local_id)
        async with trio.open_nursery() as nursery:
            for number in range(95):
                nursery.start_soon(ask, f"sybil-{number}")
            await trio.sleep(1)
            for _ in range(4):
                with trio.fail_after(seconds):
                    await honest.request(server.local_id, BLOCKS, question, timeout=5.0, limit=1 << 20)
            nursery.cancel_scope.cancel()


class Counter:
    """A desk, and who was served at it in which order."""

    def __init__(self, clock: MockClock, *, kept: str = "", each: int = 1) -> None:
        self.desk = Desk("blocks", is_kept=lambda peer: peer in kept, each=each)
        self.served: list[str] = []
        self._clock = clock

    def _steps(self, name: str, seconds: float) -> Generator[None, None, None]:
        self._clock.jump(seconds)
        self.served.append(name)
        yield

    async def ask(self, name: str, seconds: float = 0.01) -> None:
        await self.desk.serve(PeerId(name), self._steps(name, seconds))

    async def all_ask(self, names: str) -> str:
        async with trio.open_nursery() as nursery:
            for name in names:
                nursery.start_soon(self.ask, name)
                await trio.sleep(0.001)
        return "".join(self.served)


async def test_a_peer_has_one_turn_whatever_it_asks(autojump_clock: MockClock) -> None:
    assert await Counter(autojump_clock, each=5).all_ask("aaaaabbc") == "aabcabaa"


async def test_who_is_kept_has_every_other_turn(autojump_clock: MockClock) -> None:
    assert await Counter(autojump_clock, kept="ABC").all_ask("abcdefABC") == "aAbBcCdef"


async def test_a_question_too_many_of_one_peer_is_refused(autojump_clock: MockClock) -> None:
    counter = Counter(autojump_clock)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(counter.ask, "a")
        await trio.sleep(0.001)
        with pytest.raises(RequestRefused, match="one question for blocks at a time"):
            await counter.ask("a")
    await counter.ask("a")
    assert counter.served == ["a", "a"]


async def test_a_question_that_waited_too_long_is_not_answered(autojump_clock: MockClock) -> None:
    """Its asker is gone, and whoever asked later still waits."""
    counter = Counter(autojump_clock)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(counter.ask, "a", PATIENCE * 3 / 8)
        await trio.sleep(0.001)
        with pytest.raises(RequestRefused, match="2 peers wait for blocks"):
            await counter.ask("b")
        await counter.ask("c")
    assert counter.served == ["a", "c"]


async def test_who_leaves_the_line_or_the_desk_holds_nobody_up(autojump_clock: MockClock) -> None:
    counter = Counter(autojump_clock)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(counter.ask, "a", 1.0)
        await trio.sleep(0.001)
        nursery.start_soon(counter.ask, "b")
        await trio.sleep(0.001)
        nursery.cancel_scope.cancel()
    with trio.fail_after(0.1):
        await counter.ask("c")
        await counter.ask("b")
    assert counter.served == ["a", "c", "b"]
