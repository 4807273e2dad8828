"""The same blocks give the same bytes: pinned, under any hash seed, and whatever anybody sends."""

import os
import subprocess
import sys
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from chain.hashing import digest
from chain.reasons import Reason
from chain.types.transaction import Transfer, Unregister
from tests.chain.execution.world import PARAMS, World, key
from tests.chain.test_types import BODIES


def story() -> World:
    """Two epochs in which everything happens that needs no order of its own: work, tasks, a lie, seats."""
    world = World(params=replace(PARAMS, max_open_commits=4))
    for name in ("alice", "bob", "carol"):
        world.register(name)
    tasks = [world.submit("dave", rows=2, salt=salt) for salt in range(6)]
    world.block()
    for name in ("alice", "bob"):
        public = key(name).public_key
        world.earn(name, units=5, tasks=[task for task in tasks if world.task(task).miner == public][:2])
    world.commit(world.work("carol"), units=1)
    world.until(22)
    return world


def fingerprint(world: World) -> str:
    roots = b"".join(e.state.root + e.outcome.root + e.next_committee.root for e in world.executions)
    return digest("test/fingerprint", roots).hex()


def test_the_order_of_sets_and_dicts_does_not_matter():
    program = "from tests.chain.execution.test_determinism import *; print(fingerprint(story()))"
    found = {fingerprint(story())}
    for seed in ("1", "2"):
        done = subprocess.run(  # our own interpreter and our own words
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        found.add(done.stdout.strip())
    assert len(found) == 1


def test_pinned_state():
    """Accounts, a miner, fees and an epoch's turn, in bytes: a change here is consensus-breaking."""
    world = World()
    world.register("alice", models=())
    world.block(
        world.sign("bob", Transfer(key("carol").public_key, 77), tip=2), world.sign("alice", Unregister())
    )
    world.until(11)
    assert world.state.root.hex() == "1be9ef3ff668ddea048f1cb6012e112b6479b12c0caf47db3af57f0c18549855"
    assert fingerprint(world) == "636c27b215061fe45aaf7c5af268e28d69299c0bcb5d104c1a22cc152da68a5e"


@settings(max_examples=300)
@given(st.lists(st.tuples(st.sampled_from(["alice", "bob", "dave"]), BODIES), max_size=4))
def test_whatever_is_sent_ends_in_a_receipt(sent):
    world = World()
    world.register("alice")
    counts = dict.fromkeys(("alice", "bob", "dave"), 0)
    transactions = []
    for name, body in sent:
        transactions.append(world.sign(name, body, ahead=counts[name]))
        counts[name] += 1
    world.block(*transactions)
    world.blocks(2)
    outcome = world.executions[1].outcome
    assert [receipt.transaction for receipt in outcome.receipts] == [signed.id for signed in transactions]
    for receipt in outcome.receipts:
        assert receipt.reason is Reason.OK or receipt.events[0].subject in (
            receipt.transaction,
            key("alice").public_key,
        )
