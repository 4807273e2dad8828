"""The shell over the in-memory network, under virtual time, with real signatures."""

from dataclasses import replace

import pytest
import trio
import trio.lowlevel
from trio.testing import MockClock

from chain.codec import encode
from chain.types.block import Block
from chain.types.statement import NOTHING, Kind, Statement
from consensus.halting import HaltReason
from consensus.inputs import Found
from consensus.messages import Certificate, Proposal, Seal, Vote, encode_message
from consensus.simplex.effects import Fetch
from consensus.sync.requests import (
    BLOCKS,
    FETCH,
    LIE_WEIGHT,
    MAX_REQUEST,
    STATUS,
    BlocksRequest,
    FetchRequest,
    FetchResponse,
    Status,
)
from p2p.memory import Link
from p2p.network import Lane, PeerId, RequestFailed, RequestFailure
from tests.consensus.cluster import COMMITTEE, KEYS, open_cluster
from tests.consensus.fakes import CHAIN_ID


@pytest.fixture
def autojump_clock() -> MockClock:
    return MockClock(autojump_threshold=0)


async def test_four_engines_finalize(autojump_clock: MockClock) -> None:
    async with open_cluster() as cluster:
        cluster.start()
        await trio.sleep(20)
        assert min(cluster.heights()) >= 35
        assert cluster.agree()
        status = cluster.machines[0].engine.status()
    assert status.is_member
    assert status.final_height == cluster.machines[0].height
    assert status.epoch == status.final_height // 4


async def test_a_killed_node_catches_up_and_votes_again(autojump_clock: MockClock) -> None:
    async with open_cluster() as cluster:
        cluster.start()
        await trio.sleep(5)
        machine = cluster.machines[2]
        await machine.kill()
        before = machine.height
        await trio.sleep(30)
        assert min(m.height for m in cluster.machines if m is not machine) > before + 15
        cluster.start(machine)
        await trio.sleep(5)
        assert max(cluster.heights()) - machine.height <= 1
        # It was away for longer than another holder of its key would have to watch: so it watches first.
        assert not machine.engine.status().is_member
        await trio.sleep(15)
        assert machine.engine.status().is_member
        # It votes again: without another one the chain goes on all the same.
        await cluster.machines[0].kill()
        height = machine.height
        await trio.sleep(20)
        assert machine.height > height + 5


async def test_every_node_killed_at_once_goes_on(autojump_clock: MockClock) -> None:
    async with open_cluster() as cluster:
        cluster.start()
        for _ in range(3):
            await trio.sleep(3.3)
            for machine in cluster.machines:
                await machine.kill()
            cluster.start()
        before = max(cluster.heights())
        await trio.sleep(12)
        assert min(cluster.heights()) > before + 5
        assert cluster.agree()


async def test_an_observer_follows(autojump_clock: MockClock) -> None:
    async with open_cluster() as cluster:
        cluster.start()
        await trio.sleep(10)
        observer = cluster.observer()
        cluster.start(observer)
        await trio.sleep(5)
        assert max(cluster.heights()) - observer.height <= 1
        assert not observer.engine.status().is_member
        assert observer.journal.records == {}


async def test_a_partition_stops_and_heals(autojump_clock: MockClock) -> None:
    async with open_cluster() as cluster:
        cluster.start()
        await trio.sleep(3)
        names = [machine.name for machine in cluster.machines]
        cluster.hub.partition(names[:2], names[2:])
        await trio.sleep(1)
        before = cluster.heights()
        await trio.sleep(20)
        assert cluster.heights() == before
        cluster.hub.heal()
        await trio.sleep(6)
        assert min(cluster.heights()) > max(before) + 5
        assert cluster.agree()


async def test_a_lossy_network_is_slow_but_safe(autojump_clock: MockClock) -> None:
    async with open_cluster(link=Link(delay=0.02, jitter=0.1, loss=0.2)) as cluster:
        cluster.start()
        await trio.sleep(40)
        assert min(cluster.heights()) > 10
        assert cluster.agree()


async def test_a_clock_far_ahead_costs_its_own_blocks_only(autojump_clock: MockClock) -> None:
    async with open_cluster() as cluster:
        cluster.machines[0].clock_ahead_ms = 4 * 3600 * 1000
        cluster.start()
        await trio.sleep(40)
        assert min(cluster.heights()) > 25
        wrong = KEYS[0].public_key
        chain = cluster.machines[1].chain
        assert all(chain.headers[name].proposer != wrong for name in chain.final)
        # Nobody is blamed for a clock.
        assert all(peer.score == 0 for m in cluster.machines for peer in m.network.stats().peers)


async def test_a_vote_of_our_key_that_we_never_signed_stops_the_node(autojump_clock: MockClock) -> None:
    async with open_cluster() as cluster:
        cluster.start()
        await trio.sleep(3)
        machine = cluster.machines[1]
        status = machine.engine.status()
        statement = Statement(Kind.NOTARIZE, status.epoch, status.view + 3, bytes([7]) * 32)
        signature = KEYS[1].sign(statement.signing_bytes(CHAIN_ID))
        vote = Vote(
            statement.kind, statement.epoch, statement.view, statement.digest, KEYS[1].public_key, signature
        )
        mallory = cluster.stranger()
        await trio.lowlevel.checkpoint()
        mallory.send(machine.name, Lane.CONSENSUS, encode_message(vote))
        await trio.sleep(0.4)
        assert machine.halted is not None
        assert machine.halted.reason is HaltReason.KEY_IN_USE_ELSEWHERE


async def test_a_failing_disk_stops_the_node(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_cluster() as cluster:
        cluster.start()
        await trio.sleep(3)
        machine = cluster.machines[1]

        def fail(data: bytes) -> None:
            raise OSError("no space left on device")

        monkeypatch.setattr(machine.disk, "append", fail)
        await trio.sleep(5)
        assert machine.halted is not None
        assert machine.halted.reason is HaltReason.DISK_FAILED


async def test_a_damaged_journal_stops_the_node(autojump_clock: MockClock) -> None:
    async with open_cluster() as cluster:
        cluster.start()
        await trio.sleep(3)
        machine = cluster.machines[1]
        await machine.kill()
        machine.journal.records[b"c" + bytes(17)] = b"noise"
        cluster.start(machine)
        await trio.sleep(1)
        assert machine.halted is not None
        assert machine.halted.reason is HaltReason.DISK_FAILED


def forged_messages(epoch: int, view: int, block: Block):
    some = bytes([3]) * 32
    yield b"\xc1noise", "malformed consensus frame"
    vote = Vote(Kind.NOTARIZE, epoch, view, some, KEYS[0].public_key, bytes(64))
    yield encode_message(vote), "did not sign"
    yield encode_message(Certificate(Kind.NULLIFY, epoch, view, bytes(32), ())), "no_quorum"
    yield encode_message(Proposal(epoch, view, block, bytes(64))), "its leader did not sign"


@pytest.mark.parametrize("number", range(4))
async def test_forgeries_are_reported_and_change_nothing(number: int, autojump_clock: MockClock) -> None:
    async with open_cluster() as cluster:
        cluster.start()
        await trio.sleep(3)
        machine = cluster.machines[1]
        status = machine.engine.status()
        some = machine.chain.final_block(1)
        assert some is not None
        data, reason = list(forged_messages(status.epoch, status.view + 1, some))[number]
        mallory = cluster.stranger()
        await trio.lowlevel.checkpoint()
        mallory.send(machine.name, Lane.CONSENSUS, data)
        await trio.sleep(0.05)
        known = next(peer for peer in machine.network.stats().peers if peer.peer == mallory.local_id)
        assert known.last_report is not None
        assert reason in known.last_report.reason


async def test_a_peer_in_an_old_epoch_is_shown_its_end(autojump_clock: MockClock) -> None:
    async with open_cluster() as cluster:
        cluster.start()
        await trio.sleep(8)
        machine = cluster.machines[1]
        mallory = cluster.stranger()
        await trio.lowlevel.checkpoint()
        late = Vote(Kind.NULLIFY, 0, 9, bytes(32), KEYS[0].public_key, bytes(64))
        mallory.send(machine.name, Lane.CONSENSUS, encode_message(late))
        end = encode_message(machine.chain.certificates[4])
        with trio.fail_after(0.2):
            while (await mallory.inbound.receive()).payload != end:
                pass


async def test_requests_are_answered_or_refused(autojump_clock: MockClock) -> None:
    async with open_cluster() as cluster:
        cluster.start()
        await trio.sleep(8)
        machine = cluster.machines[1]
        mallory = cluster.stranger()
        await trio.lowlevel.checkpoint()

        async def ask(method: str, payload: bytes) -> bytes:
            return await mallory.request(machine.name, method, payload, timeout=1.0, limit=1 << 20)

        head = machine.chain.final_head
        assert await ask(STATUS, b"") == encode(Status(head.height, head.digest, head.height // 4))
        first = machine.chain.final_block(1)
        assert first is not None
        wanted = FetchRequest((first.digest, bytes(32)), 0, 0, 4)
        assert await ask(FETCH, encode(wanted)) == encode(FetchResponse((first,), ()))
        for payload in (b"noise", encode(BlocksRequest(10_000, 4)), encode(BlocksRequest(0, 4))):
            with pytest.raises(RequestFailed) as refused:
                await ask(BLOCKS, payload)
            assert refused.value.reason is RequestFailure.REFUSED


async def test_a_body_that_its_header_does_not_name_is_refused(autojump_clock: MockClock) -> None:
    """A leader's header under another body would keep us from the true one for ever."""
    async with open_cluster() as cluster:
        cluster.start(cluster.machines[3])
        await trio.sleep(0.1)
        machine = cluster.machines[3]
        leader = next(key for key in KEYS if key.public_key == machine.engine.status().leader)
        header = replace(
            machine.chain.final_head, height=1, proposer=leader.public_key, transactions_root=bytes(32)
        )
        block = Block(header, ())
        statement = Statement(Kind.PROPOSE, 0, 0, block.digest)
        proposal = Proposal(0, 0, block, leader.sign(statement.signing_bytes(CHAIN_ID)))
        mallory = cluster.stranger()
        await trio.lowlevel.checkpoint()
        mallory.send(machine.name, Lane.CONSENSUS, encode_message(proposal))
        await trio.sleep(0.1)
        reports = [peer.last_report for peer in machine.network.stats().peers if peer.last_report]
        assert ["names other transactions" in report.reason for report in reports] == [True]


async def _at_genesis(_peer: PeerId, _payload: bytes) -> bytes:
    await trio.lowlevel.checkpoint()
    return encode(Status(0, bytes(32), 0))


async def test_what_was_seen_while_watching_is_kept_when_it_ends(autojump_clock: MockClock) -> None:
    """Late in an epoch too: the certificates of its newest views, and not of its first."""
    async with open_cluster() as cluster:
        machine = cluster.machines[0]
        cluster.start(machine)
        await trio.sleep(0.1)
        ring = {key.public_key: key for key in KEYS}
        mallory = cluster.stranger()
        mallory.set_handler(STATUS, _at_genesis, limit=MAX_REQUEST)
        await trio.lowlevel.checkpoint()
        for view in range(80):
            statement = Statement(Kind.NULLIFY, 0, view, NOTHING)
            message = statement.signing_bytes(CHAIN_ID)
            seals = tuple(
                Seal(place, ring[COMMITTEE.validators[place].consensus_key].sign(message))
                for place in range(4)
                if COMMITTEE.validators[place].consensus_key != KEYS[0].public_key
            )
            certificate = Certificate(Kind.NULLIFY, 0, view, NOTHING, seals)
            mallory.send(machine.name, Lane.CONSENSUS, encode_message(certificate))
        await trio.sleep(30)
        assert machine.engine.status().is_member
        assert machine.engine.status().view >= 80


async def test_of_an_answer_nothing_is_looked_at_behind_a_lie(autojump_clock: MockClock) -> None:
    async with open_cluster() as cluster:
        cluster.start()
        await trio.sleep(3)
        machine, mallory = cluster.machines[1], cluster.stranger()
        status = machine.engine.status()
        forged = tuple(
            Certificate(
                Kind.NULLIFY, status.epoch, status.view + 1 + number, NOTHING,
                tuple(Seal(place, bytes(64)) for place in range(4)),
            )
            for number in range(100)
        )  # fmt: skip
        wanted = Fetch(status.epoch, (), status.view, status.view + 64, ())
        await machine.engine.receive(Found(mallory.local_id, wanted, (), forged))  # type: ignore[arg-type]
        await trio.sleep(0.05)
        known = next(peer for peer in machine.network.stats().peers if peer.peer == mallory.local_id)
        assert known.score == -LIE_WEIGHT
