"""A miner as a process: find the node, get ready, work until told to stop, and say what came of it."""

import logging
import os
import signal
import time
from dataclasses import dataclass
from typing import Final

import trio

from chain.crypto.ed25519 import SecretKey
from genesis.document import GenesisDocument, from_json
from genesis.registry import registry_of
from pouw.backends.select import Device, select_backend
from tools.miner.chain import HttpChain
from tools.miner.models import commons_inputs, weights_by_model
from tools.miner.outbox import Outbox
from tools.miner.report import line
from tools.miner.run import BACK_OFF_SECONDS, Miner, in_thread
from tools.miner.workshop import Workshop
from tools.rpc.client import Client, Unreachable

NICENESS: Final = 10
"""Whatever else the machine does goes first."""
LOW_DUTY: Final = 0.5
"""Below this share one core is enough, and more would only heat the caches."""

_LOG: Final = logging.getLogger("headrace.miner")


@dataclass(frozen=True, slots=True)
class Settings:
    """What an operator decides for one miner."""

    device: Device
    duty: float
    """Over 0, up to 1."""
    memory_bytes: int
    """For the traces of open commits."""


async def run_miner(client: Client, key: SecretKey, settings: Settings) -> str:
    """Mine until SIGINT, SIGTERM, or nothing is left to do; returns why it ended.

    Raises:
        BackendError: The device is not there, or computes wrongly.
        GenesisError: The node's chain has a model that this version does not bring along.
    """
    os.nice(NICENESS)
    begun, ended = time.monotonic(), ""
    miner: Miner | None = None
    async with trio.open_nursery() as nursery:

        async def stop_on_signal() -> None:
            nonlocal ended
            with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
                async for number in signals:
                    ended = f"signal {signal.Signals(number).name}"
                    nursery.cancel_scope.cancel()
                    return

        nursery.start_soon(stop_on_signal)
        chain = HttpChain(client)
        document = await _genesis(chain)
        miner = await in_thread(lambda: _prepared(document, chain, key, settings))
        ended = await miner.run()
        nursery.cancel_scope.cancel()
    if miner is not None:
        _LOG.info(miner.tally.summary(elapsed=time.monotonic() - begun))
    _LOG.info(line("ended", why=ended))
    return ended


async def _genesis(chain: HttpChain) -> GenesisDocument:
    failures = 0
    while True:
        try:
            return from_json(await chain.call(str, "genesis"))
        except Unreachable as error:
            if failures in (0, 10):
                _LOG.info(line("waiting_for_node", error=error))
            await trio.sleep(BACK_OFF_SECONDS[min(failures, len(BACK_OFF_SECONDS) - 1)])
            failures += 1


def _prepared(document: GenesisDocument, chain: HttpChain, key: SecretKey, settings: Settings) -> Miner:
    params, models = document.params, registry_of(document)
    backend = select_backend(settings.device, threads=1 if settings.duty < LOW_DUTY else None)
    workshop = Workshop(
        chain_id=params.chain_id,
        miner=key.public_key,
        samples=params.samples,
        models=models,
        weights=weights_by_model(),
        commons_inputs=commons_inputs(models.commons),
        backend=backend,
        held_bytes=settings.memory_bytes // (params.max_open_commits + 1),
    )
    miner = Miner(
        outbox=Outbox(key, chain, params),
        worker=workshop,
        models=models,
        duty=settings.duty,
        meter=time.thread_time,  # both backends compute in the thread that calls them
    )
    _LOG.info(
        line("ready", miner=miner.address, chain=params.chain_id, backend=backend.name, duty=settings.duty)
    )
    return miner
