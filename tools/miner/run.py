"""The miner's loop: ask the node, decide, work in a thread, send, and start over.

Nothing is kept on disk. What a commit covers is on the ledger, and the work is exact: a miner that was killed
asks for its open commits, does the same work again, gets the same root and proves it.
"""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, TypeVar

import trio

from chain.address import encode_address
from chain.execution.models import ModelRegistry
from chain.reasons import Reason
from chain.types.transaction import (
    ProveWork,
    RegisterMiner,
)
from pouw.backends.backend import BackendError
from tools.amounts import coins
from tools.miner.cover import Cover
from tools.miner.outbox import Outbox, Settled
from tools.miner.plan import (
    Commit,
    CommonsJob,
    Means,
    Prove,
    Register,
    Rest,
    Stop,
    TrainingRound,
    next_step,
    round_of,
)
from tools.miner.report import Tally, line
from tools.miner.workshop import Finished, TaskJob, TrainedModel, Unprovable
from tools.rpc.client import CallFailed, Unreachable
from tools.rpc.commons_messages import CheckpointView
from tools.rpc.messages import MinerWork, OpenCommit, Possession, TaskView

FIRST_UNITS: Final = 4
"""Shards of the first commit, before the machine's speed is known."""
FIRST_PROOF_BYTES: Final = 80_000
COMMIT_PERIOD: Final = 1.0
"""Seconds from one commons commit to the next: often enough that seats follow work closely, and seldom enough
that proofs cost the others little."""
LEAST_WORK_SECONDS: Final = 0.15
"""Commons work of one commit at least. Every commit costs some time beside its units; commits of about one
size at all duties keep that a fixed share, so that three times the duty is three times the units."""
MAX_WORK_SECONDS: Final = 0.5
"""Commons work of one commit at most; a task that comes meanwhile waits as long."""
LONGEST_REST_SECONDS: Final = 5.0
"""Rest after one piece of work at most: one that took unusually long must not cost a miner its seats."""
CATCH_UP_SECONDS: Final = 5.0
"""How far commons work may lag behind its duty before the rest is forgiven, not made up for in one go."""
POLL_SECONDS: Final = 0.5
MODELS_KEPT: Final = 4
BACK_OFF_SECONDS: Final = (0.5, 1.0, 2.0, 4.0, 8.0)
SAY_AGAIN_SECONDS: Final = 60.0

_LOG: Final = logging.getLogger("headrace.miner")
_T = TypeVar("_T")


class Worker(Protocol):
    """Does the work; `tools.miner.workshop.Workshop` is the one that does it right."""

    def trained(self, turn: TrainingRound, numbers: bytes) -> TrainedModel:
        """The commons model from its numbers on the ledger."""
        ...

    def work(self, tasks: list[TaskJob], commons: CommonsJob | None, model: TrainedModel) -> Finished:
        """Run tasks and shards."""
        ...

    def prove(self, finished: Finished, *, beacon: bytes) -> bytes:
        """The encoded proof of finished work."""
        ...


Offload = Callable[[Callable[[], _T]], Awaitable[_T]]
"""Runs something that blocks without blocking the loop."""


async def in_thread(blocking: Callable[[], Any]) -> Any:
    """Run in a worker thread; a cancelled miner leaves it behind."""
    return await trio.to_thread.run_sync(blocking, limiter=_WORK_LIMITER, abandon_on_cancel=True)


_WORK_LIMITER: Final = trio.CapacityLimiter(1)


@dataclass(slots=True)
class Miner:
    """One key's work for one chain, which the outbox belongs to."""

    outbox: Outbox
    worker: Worker
    models: ModelRegistry
    """Whose tasks it takes, and the commons."""
    duty: float
    """Share of the time, over 0 and up to 1, that may go into commons work."""
    meter: Callable[[], float]
    """Seconds, read in the worker's thread before and after a piece of work: the thread's processor time, if
    it computes there. On a busy machine the time that passes says little about the work."""
    offload: Offload[Any] = in_thread
    tally: Tally = field(default_factory=Tally)
    _models: dict[int, TrainedModel] = field(default_factory=dict)
    """The commons model by round."""
    _finished: dict[bytes, Finished] = field(default_factory=dict)
    _hopeless: set[bytes] = field(default_factory=set)
    _rest_until: float = 0.0
    _units_a_commit: int = FIRST_UNITS
    _proof_bytes: int = FIRST_PROOF_BYTES
    _refused_in_a_row: int = 0
    _said: tuple[str, float] = ("", 0.0)

    @property
    def cover(self) -> Cover:
        """What its commits put at stake."""
        return Cover(self.outbox.params, self.models)

    @property
    def address(self) -> str:
        """The miner's account."""
        return encode_address(self.outbox.key.public_key, prefix=self.outbox.params.address_prefix)

    async def run(self) -> str:
        """Work until there is nothing to do any more; returns why."""
        failures = 0
        while True:
            try:
                stop = await self._turn()
                failures = 0
            except Unreachable as error:
                self._say(line("node_unreachable", error=error), why="unreachable")
                await trio.sleep(BACK_OFF_SECONDS[min(failures, len(BACK_OFF_SECONDS) - 1)])
                failures += 1
            except CallFailed as error:
                self._refused(error.code, error.message, "call", error.next_step)
                await trio.sleep(self._patience())
            else:
                if stop is not None:
                    _LOG.warning(line("stopped", reason=stop))
                    return stop

    async def _turn(self) -> str | None:
        """One decision, carried out; the reason to stop, if there is one."""
        work = await self.outbox.chain.call(MinerWork, "miner_work", address=self.address)
        refused = self._refused_in_a_row
        for settled in await self.outbox.settle(work):
            self._learn(settled)
        known = {commit.id for commit in work.commits} | {item.id for item in self.outbox.items}
        self._finished = {commit: kept for commit, kept in self._finished.items() if commit in known}
        step = next_step(
            work, self.outbox.items, params=self.outbox.params, means=self._means(), cover=self.cover
        )
        if self._refused_in_a_row > refused and not isinstance(step, Stop):
            # What the ledger refused cost its fee all the same: look again before the next one.
            await trio.sleep(self._patience())
            return None
        match step:
            case Stop(why=why):
                return why
            case Rest(why=why):
                if work.status is None and not work.syncing:
                    # A node that cannot have this miner says so before anybody sends it coins.
                    await self._possession()
                self._say(line("resting", why=why), why=why.rstrip("0123456789 "))
                left = self._rest_until - trio.current_time()
                await trio.sleep(min(POLL_SECONDS, left) if left > 0 else POLL_SECONDS)
            case Register(bond=bond):
                await self._register(work, bond)
            case Commit():
                await self._commit(work, step)
            case Prove(commit=commit, beacon=beacon):
                return await self._prove(work, commit, beacon)
        return None

    def _means(self) -> Means:
        return Means(
            resting=trio.current_time() < self._rest_until,
            units_a_commit=self._units_a_commit,
            proof_bytes=self._proof_bytes,
            hopeless=frozenset(self._hopeless),
        )

    async def _register(self, work: MinerWork, bond: int) -> None:
        answer = await self._possession()
        body = RegisterMiner(answer.consensus_key, answer.possession, bond, self.models.ids)
        await self.outbox.send(work, body, kind="register")
        _LOG.info(line("registering", bond=coins(bond), consensus_key=answer.consensus_key))

    async def _possession(self) -> Possession:
        return await self.outbox.chain.call(Possession, "possession", miner=self.address)

    async def _commit(self, work: MinerWork, step: Commit) -> None:
        jobs = [TaskJob(task.id, task.model, task.rows, task.inputs) for task in step.tasks]
        model = await self._trained(step.round)
        begun = trio.current_time()
        finished, seconds = await self._timed(lambda: self.worker.work(jobs, step.commons, model))
        passed = trio.current_time() - begun
        # Proofs owe no rest: they cost the same at every duty, and would tilt work away from its share.
        # What they and the polling took from the last rest is caught up with, within bounds.
        due = max(self._rest_until, trio.current_time() - seconds - CATCH_UP_SECONDS)
        self._rest_until = min(due + seconds / self.duty, trio.current_time() + LONGEST_REST_SECONDS)
        done = finished.commons
        if done is not None and seconds > 0:
            # On a machine that leaves us little, time passes faster than we work, and so do rounds.
            share = min(work_seconds(self.duty) / seconds, self._half_round / max(passed, seconds))
            self._units_a_commit = max(1, round(done.count * share))
        if passed > self._half_round and await self._is_late(step, finished):
            return
        body = finished.body(commons_model=self.models.commons.id)
        commit = await self.outbox.send(
            work, body, kind="commit", tasks=tuple(job.id for job in jobs),
            commons_round=body.commons_round, commons_end=body.commons_start + body.commons_count,
            stake=step.stake,
        )  # fmt: skip
        self._finished[commit] = finished
        size = {"tasks": len(jobs), "shards": body.commons_count, "stake": coins(step.stake)}
        _LOG.info(line("committed", commit=commit, **size, ms=_ms(seconds)))

    @property
    def _half_round(self) -> float:
        """Seconds of half a round of the commons."""
        params = self.outbox.params
        return params.round_length * params.block_interval_ms / 2000

    async def _is_late(self, step: Commit, finished: Finished) -> bool:
        """Whether the round of finished work is over: the ledger would take the fee and nothing else."""
        now = await self.outbox.chain.call(MinerWork, "miner_work", address=self.address)
        if now.round <= step.round.number + 1 or not finished.uses_round(
            commons_model=self.models.commons.id
        ):
            return False
        self.tally.late += 1
        why = "the machine has too little time for this miner: rounds end before their work does"
        self._say(
            line("late", round=step.round.number, now=now.round, why=why), why=why, level=logging.WARNING
        )
        return True

    async def _prove(self, work: MinerWork, commit: OpenCommit, beacon: bytes) -> str | None:
        try:
            finished = self._finished.get(commit.id) or await self._again(commit)
            if finished is None:
                return None
            proof, seconds = await self._timed(lambda: self.worker.prove(finished, beacon=beacon))
        except (Unprovable, BackendError) as error:
            # The next proof may be wrong too, and a missing proof costs less than a wrong one.
            return f"this machine computes wrongly: {error}"
        self._proof_bytes = len(proof)
        await self.outbox.send(work, ProveWork(commit.id, proof), kind="prove", proves=commit.id)
        _LOG.info(line("proving", commit=commit.id, bytes=len(proof), ms=_ms(seconds)))
        return None

    async def _again(self, commit: OpenCommit) -> Finished | None:
        """The work of a commit from before this process started; None if it does not come out the same."""
        jobs = []
        for task in commit.tasks:
            view = await self.outbox.chain.call(TaskView, "task", id=task.hex())
            jobs.append(TaskJob(task, view.model, view.rows, view.inputs))
        commons = CommonsJob(commit.commons_start, commit.commons_count) if commit.commons_count else None
        if commit.commons_seed is None:
            # The round is forgotten, so the commons model was not used: any will do.
            turn = round_of(await self.outbox.chain.call(MinerWork, "miner_work", address=self.address))
        else:
            turn = TrainingRound(commit.commons_round, commit.commons_seed, commit.commons_step)
        model = await self._trained(turn)
        finished, seconds = await self._timed(lambda: self.worker.work(jobs, commons, model))
        if (finished.root, finished.units) != (commit.root, commit.units):
            self._hopeless.add(commit.id)
            _LOG.error(
                line("commit_not_reproducible", commit=commit.id, expected=commit.root, got=finished.root)
            )
            return None
        _LOG.info(line("worked_again", commit=commit.id, ms=_ms(seconds)))
        self._finished[commit.id] = finished
        return finished

    async def _trained(self, turn: TrainingRound) -> TrainedModel:
        """The commons model as a round uses it, from the node or as it was had before."""
        kept = self._models.get(turn.number)
        if kept is None or kept.round != turn:
            view = await self.outbox.chain.call(CheckpointView, "commons_checkpoint", step=turn.step)
            kept = await self.offload(lambda: self.worker.trained(turn, view.numbers))
            self._models[turn.number] = kept
            while len(self._models) > MODELS_KEPT:
                del self._models[min(self._models)]
        return kept

    async def _timed(self, blocking: Callable[[], _T]) -> tuple[_T, float]:
        """Run in a thread; the result and what the thread's meter says that it took."""

        def measured() -> tuple[_T, float]:
            begun = self.meter()
            return blocking(), self.meter() - begun

        result, seconds = await self.offload(measured)
        self.tally.busy_seconds += seconds
        return result, seconds

    def _learn(self, settled: Settled) -> None:
        item, view = settled.item, settled.view
        if view is None or settled.reason is not Reason.OK:
            code = "NONCE_TAKEN" if settled.reason is None else settled.reason.name
            told = (
                "another transaction took its nonce" if settled.reason is None else settled.reason.explanation
            )
            self._refused(code, told, item.kind)
            return
        self._refused_in_a_row = 0
        match item.kind:
            case "register":
                _LOG.info(line("registered", miner=self.address, height=view.height))
            case "commit":
                self.tally.commits += 1
                self.tally.tasks += len(item.tasks)
            case "prove":
                self.tally.proofs += 1
                units = self._finished[item.proves].units if item.proves in self._finished else 0
                self.tally.units += units
                _LOG.info(line("proven", commit=item.proves, units=units, fee=view.fee, height=view.height))

    def _refused(self, code: str, message: str, kind: str, next_step: str = "") -> None:
        self.tally.refusals[code] += 1
        self._refused_in_a_row += 1
        advice = {"next": next_step} if next_step else {}
        text = line("refused", kind=kind, reason=code, message=message, **advice)
        if kind == "call":
            self._say(text, why=message, level=logging.WARNING)
        else:
            _LOG.warning(text)

    def _patience(self) -> float:
        """Seconds to wait after refusals in a row."""
        return BACK_OFF_SECONDS[min(self._refused_in_a_row, len(BACK_OFF_SECONDS)) - 1]

    def _say(self, text: str, *, why: str, level: int = logging.INFO) -> None:
        """Log a state when it begins and once a minute while it lasts."""
        said, at = self._said
        now = trio.current_time()
        if why != said or now - at >= SAY_AGAIN_SECONDS:
            self._said = why, now
            _LOG.log(level, text)


def work_seconds(duty: float) -> float:
    """Commons work of one commit at a duty: the rest that it owes stays within bounds, too."""
    least = min(LEAST_WORK_SECONDS, duty * LONGEST_REST_SECONDS)
    return min(MAX_WORK_SECONDS, max(duty * COMMIT_PERIOD, least))


def _ms(seconds: float) -> int:
    return round(1000 * seconds)
