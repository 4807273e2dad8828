"""A chain of tiny models under a test's control: keys, blocks without consensus, honest miners."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial

import numpy as np

from chain.codec import encode_fields
from chain.crypto.ed25519 import SecretKey
from chain.execution import state_keys
from chain.execution.block import Execution, execute_block
from chain.execution.conservation import check_state
from chain.execution.genesis import open_genesis_state
from chain.execution.ledger import Ledger
from chain.execution.models import Model, ModelRegistry
from chain.execution.records import Account, CommonsCursor, Head, Miner, Task
from chain.execution.run import BlockContext
from chain.execution.work import CommitItems, CommonsRange, TaskWork, commons_seed
from chain.hashing import digest
from chain.reasons import Reason
from chain.types.committee import Committee, Validator
from chain.types.params import ChainParams
from chain.types.receipt import BlockOutcome, Event, Receipt
from chain.types.transaction import (
    Body,
    CommitWork,
    ProveWork,
    RegisterMiner,
    SignedTransaction,
    SubmitTask,
    TaskAnswer,
    Transaction,
    possession_message,
    sign_transaction,
)
from pouw.backends.reference import ReferenceBackend
from pouw.commitment import CommitBuilder
from pouw.generator import random_bytes
from pouw.mlp import Layer, ModelManifest, bias_name, mlp_program, weight_name
from pouw.requant import Requant
from pouw.rows import WEIGHTS, RowTree
from pouw.tensors import DType, TensorSpec
from pouw.trace import run_program
from pouw.weights import Weights

COINS = 1_000_000
WIDTH, HIDDEN, CLASSES = 16, 12, 5

PARAMS = ChainParams(
    chain_id="test",
    address_prefix="tst",
    epoch_length=10,
    committee_size=8,
    averaging_window=3,
    genesis_epochs=1,
    block_interval_ms=1,
    network_delay_ms=1,
    max_block_bytes=400_000,
    max_transaction_bytes=100_000,
    base_fee_floor=1,
    target_block_weight=200_000,
    cell_weight=10,
    min_bond=1_000,
    unbonding_blocks=12,
    missed_proof_penalty=100,
    commons_batch=4,
    max_commons_units=50,
    max_open_commits=2,
    reward_per_million_units=500_000,
    samples=8,
    beacon_delay=2,
    proof_window=4,
    task_deadline=3,
    max_task_attempts=3,
    max_task_rows=32,
    price_per_million_units=20_000,
    task_retention=20,
)


@dataclass(frozen=True)
class TinyModel:
    """A two-layer network with weights drawn from a seed."""

    model: Model
    weights: Weights


@cache
def tiny_model(name: str) -> TinyModel:
    """The model of that name; other names, other weights."""
    arrays, layers = {}, []
    sizes = [(WIDTH, HIDDEN), (HIDDEN, CLASSES)]
    for number, (inputs, outputs) in enumerate(sizes):
        drawn = np.frombuffer(random_bytes(name.encode(), path=(number,), count=inputs * outputs), np.int8)
        matrix = drawn.reshape(outputs, inputs)
        bias = np.arange(outputs, dtype=np.int32).reshape(outputs, 1)
        arrays[weight_name(number)] = matrix
        arrays[bias_name(number)] = bias
        layers.append(
            Layer(
                inputs=inputs,
                outputs=outputs,
                requant=Requant(1, 8, low=0) if number == 0 else None,
                weight_root=RowTree(
                    WEIGHTS, 0, spec=TensorSpec(outputs, inputs, DType.INT8), array=matrix
                ).root,
                bias_root=RowTree(WEIGHTS, 0, spec=TensorSpec(outputs, 1, DType.INT32), array=bias).root,
                bias_limit=outputs,
            )
        )
    manifest = ModelManifest(name, tuple(layers))
    model = Model(
        model_id=manifest.digest, name=name, build=partial(mlp_program, manifest), input_low=0, input_high=16
    )
    return TinyModel(model, Weights(arrays))


def _commons_row(seed: bytes, index: int, row: int) -> np.ndarray:
    drawn = np.frombuffer(random_bytes(seed, path=(index, row), count=WIDTH), np.uint8)
    return (drawn % 17).astype(np.int8)


TINY, OTHER = tiny_model("tiny"), tiny_model("other")
MODEL, OTHER_MODEL = TINY.model.id, OTHER.model.id
MODELS = ModelRegistry(
    models={MODEL: TINY.model, OTHER_MODEL: OTHER.model},
    commons_model=MODEL,
    commons_batch=PARAMS.commons_batch,
    commons_row=_commons_row,
)
WEIGHTS_OF = {MODEL: TINY.weights, OTHER_MODEL: OTHER.weights}
UNIT = MODELS.commons_program.units
GENESIS_BEACON = digest("test/genesis")


def key(name: str) -> SecretKey:
    """The key of somebody."""
    return SecretKey(digest("test/key", name.encode()))


def possession(miner: SecretKey, consensus: SecretKey, *, chain_id: str = PARAMS.chain_id) -> bytes:
    """The consensus key's word that it is the miner's."""
    return consensus.sign(possession_message(chain_id, miner.public_key))


def inputs_of(rows: int, *, salt: int = 0) -> bytes:
    """Some valid task inputs."""
    return bytes((7 * i + salt) % 17 for i in range(rows * WIDTH))


def events_of(outcome: BlockOutcome) -> list[Event]:
    """A block's events in order."""
    return [*outcome.opening, *(e for r in outcome.receipts for e in r.events), *outcome.closing]


@dataclass
class World:
    """A chain: its newest state, and every execution that led there."""

    params: ChainParams = PARAMS
    accounts: Sequence[str] = ("alice", "bob", "carol", "dave", "erin")
    state: object = None
    executions: list[Execution] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.proposer = key("validator").public_key
        self.committee = Committee((Validator(self.proposer, key("payout").public_key, 8),))
        self.state = open_genesis_state(
            params=self.params,
            balances={key(name).public_key: COINS for name in self.accounts},
            committee=self.committee,
            beacon=GENESIS_BEACON,
        )

    # Reading ------------------------------------------------------------------------------------------

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.state)

    @property
    def head(self) -> Head:
        return self.ledger.get(Head, state_keys.HEAD)

    @property
    def height(self) -> int:
        return self.head.height

    @property
    def outcome(self) -> BlockOutcome:
        return self.executions[-1].outcome

    @property
    def receipt(self) -> Receipt:
        """The last transaction's."""
        return self.outcome.receipts[-1]

    def balance(self, name: str) -> int:
        account = self.ledger.find(Account, state_keys.account(key(name).public_key))
        return 0 if account is None else account.balance

    def nonce(self, name: str) -> int:
        account = self.ledger.find(Account, state_keys.account(key(name).public_key))
        return 0 if account is None else account.nonce

    def miner(self, name: str) -> Miner | None:
        return self.ledger.find(Miner, state_keys.miner(key(name).public_key))

    def task(self, task_id: bytes) -> Task | None:
        return self.ledger.find(Task, state_keys.task(task_id))

    def events(self) -> list[Event]:
        """All events of the last block, in order."""
        return events_of(self.outcome)

    def reasons(self, subject: bytes) -> list[Reason]:
        """The whole story of a subject."""
        outcomes = [execution.outcome for execution in self.executions]
        return [
            event.reason for outcome in outcomes for event in events_of(outcome) if event.subject == subject
        ]

    # Writing ------------------------------------------------------------------------------------------

    def sign(
        self, name: str, body: Body, *, nonce: int | None = None, ahead: int = 0, **fields
    ) -> SignedTransaction:
        transaction = Transaction(
            chain_id=self.params.chain_id,
            sender=key(name).public_key,
            nonce=(self.nonce(name) + ahead) if nonce is None else nonce,
            max_base_fee=1 << 20,
            tip=0,
            body=body,
        )
        return sign_transaction(replace(transaction, **fields), key(name))

    def context(self, **fields) -> BlockContext:
        head = self.head
        height = head.height + 1
        context = BlockContext(
            height=height,
            epoch=self.params.epoch_of(height),
            timestamp_ms=height * 1000,
            proposer=self.proposer,
            parent_beacon=head.beacon,
            beacon=digest("test/beacon", head.beacon, height.to_bytes(8, "big")),
            base_fee=head.next_base_fee,
        )
        return replace(context, **fields)

    def block(self, *transactions: SignedTransaction, check: bool = True, **fields) -> Execution:
        """Execute a block on top."""
        context = self.context(**fields)
        execution = execute_block(self.state, context, transactions, params=self.params, models=MODELS)
        self.state = execution.state
        self.executions.append(execution)
        self.proposer = execution.next_committee.validators[0].consensus_key
        if check:
            check_state(self.state, params=self.params)
        return execution

    def do(self, name: str, body: Body, **fields) -> Receipt:
        """One transaction in a block of its own."""
        self.block(self.sign(name, body, **fields))
        return self.receipt

    def blocks(self, count: int) -> None:
        for _ in range(count):
            self.block()

    def until(self, height: int) -> None:
        """Empty blocks up to and including a height."""
        self.blocks(height - self.height)

    # Miners -------------------------------------------------------------------------------------------

    def register(self, name: str, *, bond: int = 2_000, models: Sequence[bytes] = (MODEL,)) -> Receipt:
        consensus = key(name + "/consensus")
        body = RegisterMiner(
            consensus_key=consensus.public_key,
            possession=possession(key(name), consensus),
            bond=bond,
            models=tuple(sorted(models)),
        )
        return self.do(name, body)

    def submit(self, name: str, *, rows: int = 4, payment: int = 100, salt: int = 0) -> bytes:
        """A task; returns its id."""
        signed = self.sign(name, SubmitTask(MODEL, rows, inputs_of(rows, salt=salt), payment))
        self.block(signed)
        assert self.receipt.reason is Reason.OK, self.receipt
        return signed.id

    def work(
        self, name: str, *, units: int = 3, tasks: Sequence[bytes] = (), epoch: int | None = None
    ) -> "Work":
        """Honest work on the next commons units and some tasks, done now, committed nowhere yet."""
        public = key(name).public_key
        ledger = self.ledger
        if epoch is None:
            epoch = self.params.epoch_of(self.height + 1)
        cursor = ledger.find(CommonsCursor, state_keys.commons_cursor(epoch, public))
        start = 0 if cursor is None else cursor.next
        seed = commons_seed(ledger.get_raw(state_keys.epoch_seed(epoch)), public) if units else bytes(32)
        questions = []
        for task_id in sorted(tasks):
            task = ledger.get(Task, state_keys.task(task_id))
            questions.append((task_id, task, ledger.get_raw(state_keys.task_inputs(task_id))))
        return Work.done(
            name, chain_id=self.params.chain_id, epoch=epoch if units else 0,
            commons=CommonsRange(seed, start if units else 0, units), questions=questions,
        )  # fmt: skip

    def commit(self, work: "Work", **changes) -> bytes:
        """Put work on the ledger; returns the commit's id."""
        signed = self.sign(work.name, replace(work.body, **changes))
        self.block(signed)
        return signed.id

    def draw_of(self, commit_height: int) -> bytes:
        """The seed that draws the cells of a commit, once it exists."""
        return self.ledger.get_raw(state_keys.beacon(commit_height + self.params.beacon_delay))

    def prove(self, work: "Work", commit_id: bytes, *, committed_at: int) -> Receipt:
        proof = work.proof(self.draw_of(committed_at), samples=self.params.samples)
        return self.do(work.name, ProveWork(commit_id, proof))

    def earn(self, name: str, *, units: int = 3, tasks: Sequence[bytes] = ()) -> bytes:
        """Commit to honest work and prove it at the first moment; returns the commit's id."""
        work = self.work(name, units=units, tasks=tasks)
        commit_id = self.commit(work)
        assert self.receipt.reason is Reason.OK, self.receipt
        at = self.height
        self.until(at + self.params.beacon_delay)
        receipt = self.prove(work, commit_id, committed_at=at)
        assert receipt.reason is Reason.OK, receipt
        return commit_id


@dataclass
class Work:
    """Traces of a miner, bound to a commit's body."""

    name: str
    builder: CommitBuilder
    body: CommitWork

    @classmethod
    def done(cls, name, *, chain_id, epoch, commons, questions, as_miner: str | None = None) -> "Work":
        """Run everything on the reference backend.

        `as_miner` binds the traces to somebody else's name than `name`.
        """
        backend = ReferenceBackend()
        builder = CommitBuilder(chain_id.encode(), key(as_miner or name).public_key)
        tasks, answers = [], []
        for task_id, task, raw in questions:
            model = MODELS.get(task.model)
            inputs = model.read_inputs(task.rows, raw)
            trace = run_program(model.program(task.rows), WEIGHTS_OF[task.model], inputs, backend)
            answer = trace.answer.tobytes()
            builder.add(task_id, model.program(task.rows), trace, answered=True)
            answers.append(TaskAnswer(task_id, answer))
            tasks.append(partial(TaskWork, task_id, task.model, task.rows, raw, answer))
        items = CommitItems(tasks, commons, models=MODELS)
        for index in range(len(tasks), len(items)):
            item = items[index]
            rows = np.stack([item.input_row(row) for row in range(MODELS.commons_batch)])
            builder.add(item.item_id, item.program, run_program(item.program, TINY.weights, rows, backend))
        body = CommitWork(
            root=builder.root,
            units=builder.units,
            commons_epoch=epoch,
            commons_start=commons.start,
            commons_count=commons.count,
            tasks=tuple(answers),
        )
        return cls(name, builder, body)

    def proof(self, seed: bytes, *, samples: int) -> bytes:
        return encode_fields(self.builder.prove(seed, samples).to_fields())
