"""A chain of tiny models under a test's control: keys, blocks without consensus, honest miners."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from chain.codec import encode, encode_fields
from chain.crypto.ed25519 import SecretKey
from chain.execution import state_keys
from chain.execution.block import Execution, execute_block
from chain.execution.conservation import check_state
from chain.execution.genesis import open_genesis_state
from chain.execution.ledger import Ledger
from chain.execution.models import ModelRegistry, Roots
from chain.execution.records import Account, CommonsCursor, Head, Miner, Round, Task
from chain.execution.run import BlockContext
from chain.execution.training import round_of
from chain.execution.work import commons_item_id, commons_seed
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
from pouw.program import Program
from pouw.proofs.commitment import CommitBuilder
from pouw.trace import Trace, run_program
from pouw.weights import Weights
from tests.chain.execution.tiny import WIDTH, commons_model, tiny_commons, tiny_model

COINS = 1_000_000

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
    round_length=5,
    max_open_commits=2,
    reward_per_million_units=500,
    samples=8,
    beacon_delay=2,
    proof_window=4,
    task_deadline=3,
    max_task_attempts=3,
    max_task_rows=32,
    price_per_million_units=20_000,
    task_retention=20,
)


TINY, OTHER = tiny_model("tiny"), tiny_model("other")
COMMONS = tiny_commons(PARAMS.commons_batch)
MODEL, OTHER_MODEL = TINY.model.id, OTHER.model.id
MODELS = ModelRegistry(
    models={MODEL: TINY.model, OTHER_MODEL: OTHER.model, COMMONS.id: commons_model(COMMONS)}, commons=COMMONS
)
WEIGHTS_OF = {MODEL: TINY.weights, OTHER_MODEL: OTHER.weights}
UNIT = COMMONS.units(1)
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
            commons=COMMONS,
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

    def set_base_fee(self, base_fee: int) -> None:
        """As if the blocks so far had led to it."""
        head = replace(self.head, next_base_fee=base_fee)
        self.state = self.state.updated({state_keys.HEAD: encode(head)})

    # Miners -------------------------------------------------------------------------------------------

    def registration(
        self, name: str, *, bond: int = 2_000, models: Sequence[bytes] = (MODEL,)
    ) -> RegisterMiner:
        consensus = key(name + "/consensus")
        return RegisterMiner(
            consensus_key=consensus.public_key,
            possession=possession(key(name), consensus),
            bond=bond,
            models=tuple(sorted(models)),
        )

    def register(self, name: str, *, bond: int = 2_000, models: Sequence[bytes] = (MODEL,)) -> Receipt:
        return self.do(name, self.registration(name, bond=bond, models=models))

    def submit(self, name: str, *, rows: int = 4, payment: int = 100, salt: int = 0) -> bytes:
        """A task; returns its id."""
        signed = self.sign(name, SubmitTask(MODEL, rows, inputs_of(rows, salt=salt), payment))
        self.block(signed)
        assert self.receipt.reason is Reason.OK, self.receipt
        return signed.id

    def work(
        self, name: str, *, units: int = 3, tasks: Sequence[bytes] = (), round_number: int | None = None
    ) -> "Work":
        """Honest work on the next shards and some tasks, done now, committed nowhere yet."""
        ledger = self.ledger
        number = round_of(self.height + 1, params=self.params) if round_number is None else round_number
        questions = []
        for task_id in sorted(tasks):
            task = ledger.get(Task, state_keys.task(task_id))
            questions.append((task_id, task, ledger.get_raw(state_keys.task_inputs(task_id))))
        uses = units or any(task.model == COMMONS.id for _, task, _ in questions)
        return Work.done(
            name, chain_id=self.params.chain_id, shards=self.shards(name, units, number) if uses else None,
            questions=questions,
        )  # fmt: skip

    def shards(self, name: str, count: int, number: int) -> "Shards":
        """A miner's next shards of a round."""
        ledger, public = self.ledger, key(name).public_key
        trained = ledger.get(Round, state_keys.training_round(number))
        cursor = ledger.find(CommonsCursor, state_keys.commons_cursor(number, public))
        start = 0 if cursor is None or not count else cursor.next
        raw = ledger.get_raw(state_keys.checkpoint(trained.step))
        return Shards(number, commons_seed(trained.seed, public), start, count, trained.roots, raw)

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


@dataclass(frozen=True)
class Shards:
    """Consecutive shards of a round, none where only its checkpoint is used."""

    round: int
    seed: bytes
    start: int
    count: int
    roots: Roots
    raw: bytes

    @property
    def item_id(self) -> bytes:
        return commons_item_id(self.seed, self.start, self.count)

    @property
    def program(self) -> Program:
        return COMMONS.program(self.roots, self.count)

    @property
    def weights(self) -> Weights:
        return COMMONS.voted.weights(self.raw)

    @property
    def inputs(self) -> np.ndarray:
        rows = range(self.count * COMMONS.voted.training.batch)
        return np.stack([COMMONS.input_row(self.seed, self.start, row) for row in rows])

    def trace(self) -> Trace:
        """Honest work."""
        return run_program(self.program, self.weights, self.inputs, ReferenceBackend())


@dataclass
class Work:
    """Traces of a miner, bound to a commit's body."""

    name: str
    builder: CommitBuilder
    body: CommitWork

    @classmethod
    def done(
        cls, name: str, *, chain_id: str, shards: Shards | None, questions=(), trace: Trace | None = None
    ) -> "Work":
        """Run everything on the reference backend, unless the shards' `trace` is given."""
        backend = ReferenceBackend()
        builder = CommitBuilder(chain_id.encode(), key(name).public_key)
        answers = []
        for task_id, task, raw in questions:
            model = MODELS.get(task.model)
            trained = task.model == COMMONS.id
            program = model.program_at(task.rows, shards.roots if trained else ())
            weights = shards.weights if trained else WEIGHTS_OF[task.model]
            run = run_program(program, weights, model.read_inputs(task.rows, raw), backend)
            builder.add(task_id, program, run, answered=True)
            answers.append(TaskAnswer(task_id, run.answer.tobytes()))
        vote = b""
        if shards is not None and shards.count:
            run = shards.trace() if trace is None else trace
            builder.add(shards.item_id, shards.program, run, answered=True)
            vote = COMMONS.voted.shape.pack(run.answer)
        body = CommitWork(
            root=builder.root,
            units=builder.units,
            commons_round=0 if shards is None else shards.round,
            commons_start=0 if shards is None else shards.start,
            commons_count=0 if shards is None else shards.count,
            vote=vote,
            tasks=tuple(answers),
        )
        return cls(name, builder, body)

    def proof(self, seed: bytes, *, samples: int) -> bytes:
        return encode_fields(self.builder.prove(seed, samples).to_fields())
