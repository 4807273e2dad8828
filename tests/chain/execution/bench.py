"""Figures of this package: `python -m tests.chain.execution.bench`, CPU time, best of several runs."""

import time
from collections.abc import Callable
from dataclasses import replace

from chain.codec import decode, encode
from chain.execution.block import execute_block
from chain.mempool import Mempool, MempoolLimits
from chain.reasons import Reason
from chain.types.transaction import ProveWork, SignedTransaction, Transfer
from tests.chain.execution.world import MODELS, PARAMS, World, key

ACCOUNTS = 1_000
WAITING = 20_000


def best(run: Callable[[], object], *, runs: int = 7) -> float:
    """Least CPU seconds of several runs."""
    times = []
    for _ in range(runs):
        begin = time.process_time()
        run()
        times.append(time.process_time() - begin)
    return min(times)


def show(what: str, seconds: float, *, items: int = 1) -> None:
    """One line."""
    rate = f"  {items / seconds:10,.0f} /s" if items > 1 else ""
    print(f"{what:48} {1e3 * seconds:9.3f} ms{rate}")


def bench_blocks() -> None:
    """Blocks of nothing and of transfers."""
    params = replace(PARAMS, max_block_bytes=1 << 20, target_block_weight=1 << 20)
    world = World(params=params, accounts=tuple(f"a{i}" for i in range(ACCOUNTS)))
    signed = [
        world.sign(f"a{i}", Transfer(key(f"a{7 * i % ACCOUNTS}").public_key, 5)) for i in range(ACCOUNTS)
    ]

    def execute(transactions: list[SignedTransaction], **options: object) -> None:
        execute_block(world.state, world.context(), transactions, params=params, models=MODELS, **options)

    show("an empty block", best(lambda: execute([])))
    known = best(lambda: execute(signed, is_authentic=lambda _: True))
    show("1,000 transfers, signatures known", known, items=ACCOUNTS)
    show("1,000 transfers, signatures verified", best(lambda: execute(signed)), items=ACCOUNTS)
    raw = [encode(item) for item in signed]
    show("encode 1,000 transfers", best(lambda: [encode(item) for item in signed]), items=ACCOUNTS)
    decoded = best(lambda: [decode(SignedTransaction, item, limit=1 << 16) for item in raw])
    show("decode 1,000 transfers", decoded, items=ACCOUNTS)


def bench_proof() -> None:
    """A block with one proof of the tests' tiny model, with the samples of a real network."""
    params = replace(PARAMS, samples=64)
    world = World(params=params)
    world.register("alice")
    work = world.work("alice", units=50)
    commit_id = world.commit(work)
    at = world.height
    world.until(at + params.beacon_delay)
    signed = world.sign("alice", ProveWork(commit_id, work.proof(world.draw_of(at), samples=64)))
    run = best(lambda: execute_block(world.state, world.context(), [signed], params=params, models=MODELS))
    show(f"a block with a proof of {len(signed.transaction.body.proof):,} bytes", run)


def bench_mempool() -> None:
    """A full pool of single transfers."""
    world = World(accounts=tuple(f"a{i}" for i in range(WAITING)))
    receiver = key("b").public_key
    signed = [world.sign(f"a{i}", Transfer(receiver, 5), nonce=0, tip=i % 97) for i in range(WAITING)]
    pool = Mempool(PARAMS, MempoolLimits())
    begin = time.process_time()
    assert all(pool.add(item, world.state) is Reason.OK for item in signed)
    show(f"add {WAITING:,} transfers", time.process_time() - begin, items=WAITING)
    show("select a block of 1 MiB", best(lambda: pool.select(world.state, max_bytes=1 << 20)))
    show("revalidate all", best(lambda: pool.revalidate(world.state)))
    block = [item.transaction.sender for item in signed[:1000]]
    show("revalidate 1,000 senders", best(lambda: pool.revalidate(world.state, block)))
    rich = [world.sign(f"a{i}", Transfer(receiver, 6), nonce=1, tip=200) for i in range(2_000)]
    begin = time.process_time()
    assert all(pool.add(item, world.state) is Reason.OK for item in rich)
    show("add 2,000 to a full pool", time.process_time() - begin, items=2_000)


if __name__ == "__main__":
    bench_blocks()
    bench_proof()
    bench_mempool()
