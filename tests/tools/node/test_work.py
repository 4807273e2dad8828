"""Work from question to payment, and from lie to burned bond, on four whole nodes."""

import numpy as np

from chain.codec import decode_fields, encode_fields
from chain.execution import queries
from chain.execution.records import MinerStatus, TaskStatus
from chain.reasons import Reason
from chain.types.transaction import ProveWork, SubmitTask
from genesis.digits import load_digits, load_model
from pouw.backends.select import select_backend
from pouw.models.mlp import mlp_program
from pouw.trace import run_program
from tests.tools.node.cluster import ALICE, Cluster, consensus_key, open_cluster
from tests.tools.node.worker import Worker
from tools.miner.workshop import TaskJob

IMAGES = load_digits().images[:5]


async def _submit(cluster: Cluster, worker: Worker) -> bytes:
    model = load_model().manifest.digest
    task, receipt = await worker.send(
        SubmitTask(model, len(IMAGES), IMAGES.tobytes(), 1_000_000), secret=ALICE
    )
    assert receipt.reason is Reason.OK
    return task


def _reference_answer() -> bytes:
    model = load_model()
    program = mlp_program(model.manifest, len(IMAGES))
    return run_program(program, model.weights, np.array(IMAGES), select_backend("reference")).answer.tobytes()


async def test_a_task_is_answered_proven_and_paid(tmp_path, autojump_clock):
    async with open_cluster(tmp_path, 4) as cluster:
        await cluster.reach(1)
        worker = Worker(cluster, 0)
        await worker.register()
        task = await _submit(cluster, worker)
        node = cluster.nodes[3]
        while queries.task(node.state, task).status is TaskStatus.WAITING:
            await node.wait_beyond(node.head.height)
        assert queries.task(node.state, task).miner == worker.secret.public_key
        job = TaskJob(task, load_model().manifest.digest, len(IMAGES), IMAGES.tobytes())
        finished = worker.work([job], units=0)
        commit, receipt = await worker.send(worker.commit_of(finished))
        assert receipt.reason is Reason.OK
        before = queries.account(node.state, worker.secret.public_key).balance
        receipt = await worker.prove(commit, finished)
        assert receipt.reason is Reason.OK
        assert queries.task(node.state, task).status is TaskStatus.ANSWERED
        assert queries.task_answer(node.state, task) == _reference_answer()
        after = queries.account(node.state, worker.secret.public_key).balance
        assert after > before + 1_000_000 - receipt.fee
        assert queries.weight(node.state, consensus_key(0).public_key).since(0) == finished.units
        story = [event.reason for _, event in node.store.events_about(task)]
        assert story == [
            Reason.TASK_SUBMITTED,
            Reason.TASK_ASSIGNED,
            Reason.TASK_COMMITTED,
            Reason.TASK_ANSWERED,
            Reason.TASK_PAID,
        ]


async def test_votes_move_the_model_and_it_answers_as_it_is_by_then(tmp_path, autojump_clock):
    async with open_cluster(tmp_path, 2) as cluster:
        await cluster.reach(1)
        worker, node = Worker(cluster, 0), cluster.nodes[1]
        await worker.register()
        before = queries.progress(node.state)
        finished = worker.work([], units=2)
        commit, _ = await worker.send(worker.commit_of(finished))
        assert (await worker.prove(commit, finished)).reason is Reason.OK
        await cluster.reach(cluster.nodes[0].head.height + node.genesis.params.round_length)
        after = queries.progress(node.state)
        assert (len(before.latest), [point.step for point in after.latest]) == (0, [1])
        assert after.latest[0].shards == 2
        asked, receipt = await worker.send(
            SubmitTask(node.models.commons.id, len(IMAGES), IMAGES.tobytes(), 1_000_000), secret=ALICE
        )
        assert receipt.reason is Reason.OK
        while queries.task(node.state, asked).status is TaskStatus.WAITING:
            await node.wait_beyond(node.head.height)
        finished = worker.work(
            [TaskJob(asked, node.models.commons.id, len(IMAGES), IMAGES.tobytes())], units=0
        )
        commit, _ = await worker.send(worker.commit_of(finished))
        assert (await worker.prove(commit, finished)).reason is Reason.OK
        task = queries.task(node.state, asked)
        assert (task.status, task.step) == (TaskStatus.ANSWERED, 1)


async def test_a_changed_byte_burns_the_bond_on_every_node(tmp_path, autojump_clock):
    async with open_cluster(tmp_path, 4) as cluster:
        await cluster.reach(1)
        worker = Worker(cluster, 1)
        await worker.register()
        finished = worker.work([], units=8)
        commit, _ = await worker.send(worker.commit_of(finished))
        proof = worker.workshop.prove(finished, beacon=await worker.beacon_of(commit))
        _, receipt = await worker.send(ProveWork(commit, _with_a_changed_row(proof)))
        assert receipt.reason is Reason.PROOF_ROW_NOT_COMMITTED
        for node in cluster.nodes.values():
            miner = queries.miner(node.state, worker.secret.public_key)
            assert (miner.status, miner.bond) == (MinerStatus.SLASHED, 0)
            assert queries.weight(node.state, consensus_key(1).public_key).since(0) == 0
        await cluster.reach(cluster.nodes[0].head.height + 3)


def _with_a_changed_row(proof: bytes) -> bytes:
    """Flip a bit of the longest byte string: the hashes beside opened rows of the trace."""
    fields = decode_fields(proof, limit=1 << 20)
    holder, position = max(_byte_strings(fields), key=lambda place: len(place[0][place[1]]))
    row = holder[position]
    holder[position] = bytes([row[0] ^ 1]) + row[1:]
    return encode_fields(fields)


def _byte_strings(fields):
    for position, item in enumerate(fields):
        if isinstance(item, bytes):
            yield fields, position
        elif isinstance(item, list):
            yield from _byte_strings(item)
