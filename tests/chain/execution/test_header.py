"""Headers: what a leader makes passes every check, and each field that is wrong has its own reason."""

from dataclasses import dataclass, field, replace

import pytest

from chain.crypto import vrf
from chain.execution import queries
from chain.execution.block import draft_block, execute_block
from chain.execution.genesis import open_genesis_state
from chain.execution.header import check_header, check_outcome, context_for, genesis_header, make_header
from chain.execution.invalid import BlockReason, InvalidBlock
from chain.state.tree import StateTree
from chain.types.block import Block, Header, beacon_input, transactions_root
from chain.types.committee import Committee, Validator
from chain.types.transaction import Transfer
from tests.chain.execution.world import COINS, COMMONS, GENESIS_BEACON, MODELS, PARAMS, World, key

LEADER = key("leader")
COMMITTEE = Committee((Validator(LEADER.public_key, key("payout").public_key, 8),))


@dataclass
class Chain:
    """Blocks with real headers, made and checked as a node would."""

    header: Header = None
    state: StateTree = None
    base_fee: int = PARAMS.base_fee_floor
    committee: Committee = field(default=COMMITTEE)

    def __post_init__(self) -> None:
        balances = {key(name).public_key: COINS for name in ("alice", "bob")}
        self.state = open_genesis_state(
            params=PARAMS,
            balances=balances,
            committee=COMMITTEE,
            beacon=GENESIS_BEACON,
            commons=COMMONS,
        )
        self.header = genesis_header(
            chain_id=PARAMS.chain_id, timestamp_ms=1_000, beacon=GENESIS_BEACON,
            base_fee=PARAMS.base_fee_floor, state_root=self.state.root, committee=COMMITTEE,
        )  # fmt: skip

    def propose(self, *candidates, view: int = 0) -> Block:
        proof = vrf.prove(LEADER, beacon_input(PARAMS.chain_id, self.header.beacon, view))
        context = context_for(
            self.header, params=PARAMS, timestamp_ms=self.header.timestamp_ms + 500,
            proposer=LEADER.public_key, vrf_proof=proof, base_fee=self.base_fee,
        )  # fmt: skip
        draft = draft_block(self.state, context, candidates, params=PARAMS, models=MODELS)
        header = make_header(
            self.header, context, draft.execution, draft.transactions, view=view, vrf_proof=proof
        )
        return Block(header, draft.transactions)

    def check(self, block: Block):
        context = check_header(
            self.header, block, params=PARAMS, committee=self.committee, base_fee=self.base_fee
        )
        execution = execute_block(self.state, context, block.transactions, params=PARAMS, models=MODELS)
        check_outcome(block.header, execution)
        return execution

    def accept(self, block: Block) -> None:
        execution = self.check(block)
        self.header, self.state = block.header, execution.state
        self.base_fee, self.committee = execution.next_base_fee, execution.next_committee


def signed(nonce: int = 0):
    return World().sign("alice", Transfer(key("bob").public_key, 5), nonce=nonce)


def test_what_a_leader_makes_passes():
    chain = Chain()
    for height in range(1, 13):
        block = chain.propose(signed(height - 1), view=height % 3)
        assert (block.header.height, len(block.transactions)) == (height, 1)
        chain.accept(block)
    assert queries.account(chain.state, key("bob").public_key).balance == COINS + 60
    assert chain.header.epoch == 1


@pytest.mark.parametrize(
    ("change", "reason", "message"),
    [
        ({"version": 2}, BlockReason.WRONG_VERSION, "version 2, expected 1"),
        ({"chain_id": "tesu"}, BlockReason.WRONG_CHAIN, "chain 'tesu', expected 'test'"),
        ({"height": 2}, BlockReason.WRONG_HEIGHT, "height 2, expected 1"),
        ({"parent": bytes(32)}, BlockReason.WRONG_PARENT, f"parent {bytes(32).hex()}, expected "),
        ({"epoch": 1}, BlockReason.WRONG_EPOCH, "epoch 1, expected 0"),
        (
            {"timestamp_ms": 1_000},
            BlockReason.TIMESTAMP_TOO_EARLY,
            "timestamp 1000 ms, the parent's is 1000 ms",
        ),
        ({"proposer": bytes(32)}, BlockReason.NOT_A_MEMBER, "has no seat in epoch 0"),
        ({"base_fee": 2}, BlockReason.WRONG_BASE_FEE, "base fee 2, expected 1"),
        ({"view": 1}, BlockReason.BAD_VRF_PROOF, "for view 1 over"),
        ({"vrf_proof": bytes(80)}, BlockReason.BAD_VRF_PROOF, "the proof is not "),
        ({"beacon": bytes(32)}, BlockReason.WRONG_BEACON, f"beacon {bytes(32).hex()}, expected "),
        ({"transactions_root": bytes(32)}, BlockReason.WRONG_TRANSACTIONS_ROOT, "transactions root 0000"),
        ({"receipts_root": bytes(32)}, BlockReason.WRONG_RECEIPTS_ROOT, "receipts root 0000"),
        ({"state_root": bytes(32)}, BlockReason.WRONG_STATE_ROOT, "state root 0000"),
        ({"next_committee_root": bytes(32)}, BlockReason.WRONG_COMMITTEE_ROOT, "committee root 0000"),
    ],
)
def test_every_wrong_field_has_its_reason(change, reason, message):
    chain = Chain()
    block = chain.propose(signed())
    with pytest.raises(InvalidBlock) as caught:
        chain.check(replace(block, header=replace(block.header, **change)))
    assert caught.value.reason is reason
    assert message in caught.value.message


def test_a_block_over_the_limit_in_bytes():
    chain = Chain()
    block = chain.propose()
    large = tuple(
        replace(signed(i), transaction=replace(signed(i).transaction, chain_id="x" * 32)) for i in range(2200)
    )
    root = transactions_root(large)
    with pytest.raises(InvalidBlock) as caught:
        chain.check(Block(replace(block.header, transactions_root=root), large))
    assert caught.value.reason is BlockReason.TOO_MANY_BYTES


def test_another_body_under_the_same_header():
    chain = Chain()
    block = chain.propose(signed())
    with pytest.raises(InvalidBlock) as caught:
        chain.check(replace(block, transactions=()))
    assert caught.value.reason is BlockReason.WRONG_TRANSACTIONS_ROOT


def test_the_beacon_of_another_leader_is_refused():
    chain = Chain()
    block = chain.propose()
    proof = vrf.prove(key("other"), beacon_input(PARAMS.chain_id, chain.header.beacon, 0))
    with pytest.raises(InvalidBlock) as caught:
        chain.check(replace(block, header=replace(block.header, vrf_proof=proof)))
    assert caught.value.reason is BlockReason.BAD_VRF_PROOF


def test_another_view_gives_another_beacon():
    chain = Chain()
    assert chain.propose(view=0).header.beacon != chain.propose(view=1).header.beacon


def test_balances_beyond_the_largest_supply_are_refused():
    with pytest.raises(ValueError, match="at most 18446744073709551615 coins"):
        open_genesis_state(
            params=PARAMS, balances={bytes(32): 1 << 63, b"\x01" * 32: 1 << 63}, committee=COMMITTEE,
            beacon=GENESIS_BEACON, commons=COMMONS,
        )  # fmt: skip
