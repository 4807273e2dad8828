"""What a testnet consists of, from options and a seed."""

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genesis.presets import COIN, LOCAL_PARAMS
from tools.node.config import config_from
from tools.testnet.plan import (
    MAX_FULL_NODES,
    MAX_VALIDATORS,
    PlanError,
    TestnetOptions,
    TestnetPlan,
    check_options,
    genesis_of,
    node_config,
    plan_testnet,
    port_count,
)


def planned(**options: object) -> TestnetPlan:
    chosen = TestnetOptions(**options)  # type: ignore[arg-type]
    check_options(chosen)
    return plan_testnet(chosen, range(30000, 30000 + port_count(chosen)))


@given(validators=st.integers(1, MAX_VALIDATORS), full_nodes=st.integers(0, MAX_FULL_NODES), seed=st.text())
def test_names_ports_and_keys_are_all_different(validators: int, full_nodes: int, seed: str) -> None:
    plan = planned(validators=validators, full_nodes=full_nodes, seed=seed)
    names = [process.name for process in (*plan.nodes, *plan.miners)]
    ports = [port for node in plan.nodes for port in (node.p2p_port, node.rpc_port)]
    keys = [node.peer.public_key for node in plan.nodes]
    keys += [node.consensus.public_key for node in plan.nodes if node.consensus is not None]
    keys += [owner.key.public_key for owner in (*plan.miners, *plan.accounts)]
    for values in (names, ports, keys):
        assert len(values) == len(set(values))
    assert (len(plan.nodes), len(plan.miners)) == (validators + full_nodes, validators)


def test_the_same_seed_gives_the_same_keys() -> None:
    """Pinned: documentation and bug reports name these addresses."""
    first, again, other = planned(seed="1"), planned(seed="1"), planned(seed="2")
    keys = [[owner.key.public_key.hex() for owner in plan.accounts] for plan in (first, again, other)]
    assert keys[0] == keys[1] != keys[2]
    assert keys[0][0] == "6fd7532a4bcb8cf5109d7ba34e69d4cd1719990e2c3336afe77e0ee74dc9ebc6"


def test_more_nodes_change_no_key() -> None:
    small, large = planned(validators=2), planned(validators=4, full_nodes=1)
    assert [node.peer.public_key for node in small.nodes] == [
        node.peer.public_key for node in large.nodes[:2]
    ]


def test_full_nodes_hold_no_consensus_key() -> None:
    plan = planned(validators=1, full_nodes=2)
    assert [(node.name, node.consensus is None) for node in plan.nodes] == [
        ("validator-0", False),
        ("full-0", True),
        ("full-1", True),
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"validators": 0}, "--validators 0: expected 1 to 16"),
        ({"full_nodes": 17}, "--full-nodes 17: expected 0 to 16"),
        (
            {"duties": (0.1, 0.2)},
            "--duty names 2 miners, the testnet has 4: give one number for all of them, or one each",
        ),
        ({"duties": (1.5,)}, "--duty 1.5: expected more than 0 and at most 1, the part of one core's time"),
        (
            {"duties": (float("nan"),)},
            "--duty nan: expected more than 0 and at most 1, the part of one core's time",
        ),
        ({"base_port": 80}, "--base-port 80: expected 1024 to 65528"),
        ({"base_port": 65529}, "--base-port 65529: expected 1024 to 65528"),
    ],
)
def test_options_that_cannot_work_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(PlanError) as refused:
        planned(**options)
    assert str(refused.value) == message


def test_one_duty_is_for_all_miners_or_one_for_each() -> None:
    assert [miner.duty for miner in planned(validators=3, duties=(0.2,)).miners] == [0.2, 0.2, 0.2]
    assert [miner.duty for miner in planned(validators=3, duties=(0.3, 0.1, 1)).miners] == [0.3, 0.1, 1]


def test_genesis_gives_even_seats_and_funds_whom_it_promises() -> None:
    plan = planned(validators=4)
    document = genesis_of(plan, timestamp_ms=1)
    assert [holder.seats for holder in document.committee.validators] == [
        LOCAL_PARAMS.committee_size // 4
    ] * 4
    holders = {holder.consensus_key: holder.payout for holder in document.committee.validators}
    assert holders == {
        node.consensus.public_key: miner.key.public_key
        for node, miner in zip(plan.nodes, plan.miners, strict=True)
        if node.consensus is not None
    }
    balances = {balance.account: balance.amount for balance in document.balances}
    assert all(balances[account.key.public_key] == account.coins * COIN for account in plan.accounts)
    assert all(balances[miner.key.public_key] > LOCAL_PARAMS.min_bond for miner in plan.miners)


def test_a_node_reads_the_configuration_written_for_it(tmp_path) -> None:
    plan = planned(validators=2, full_nodes=1)
    configs = [config_from(tomllib.loads(node_config(plan, node)), base=tmp_path) for node in plan.nodes]
    assert [(config.moniker, config.rpc_port) for config in configs] == [
        (node.name, node.rpc_port) for node in plan.nodes
    ]
    assert [config.consensus_key is None for config in configs] == [False, False, True]
    assert all(len(config.bootstrap) == 2 for config in configs)
    assert all(
        not any(own.startswith(listen) for own in config.bootstrap)
        for config in configs
        for listen in config.listen
    )
