"""What miners need, and what others want to know of them."""

from chain.execution import open_commits, queries, training
from chain.execution.records import Miner, MinerStatus
from tools.rpc.faults import Code, RpcFault
from tools.rpc.messages import AssignedTask, MinerView, MinerWork, OpenCommit, Possession
from tools.rpc.view import NodeView
from tools.rpc.wire import Address


def miners(node: NodeView) -> tuple[MinerView, ...]:
    """All miners with their bonds, proven units and seats; who proved most comes first."""
    seats = node.status().committee
    views = [
        MinerView(
            address=key,
            consensus_key=miner.consensus_key,
            status=miner.status,
            bond=miner.bond,
            at_stake=at_stake(node, key),
            unbonds_at=miner.unbonds_at,
            open_commits=miner.open_commits,
            models=miner.models,
            units=_units(node, miner),
            seats=seats.seats_of(miner.consensus_key),
        )
        for key, miner in queries.miners(node.state)
    ]
    return tuple(sorted(views, key=lambda view: (-view.units, view.address)))


def miner_work(node: NodeView, address: Address) -> MinerWork:
    """Everything that a miner needs to decide what to do next, in one call."""
    state, status = node.state, node.status()
    head, account, miner = queries.head(state), queries.account(state, address), queries.miner(state, address)
    number = training.round_of(head.height + 1, params=node.genesis.params)
    trained = queries.training_round(state, number)
    assert trained is not None, f"the state lacks round {number}"
    return MinerWork(
        height=head.height,
        round=number,
        round_seed=trained.seed,
        step=trained.step,
        next_shard=queries.next_shard(state, number, address),
        base_fee=head.next_base_fee,
        balance=account.balance,
        nonce=account.nonce,
        next_nonce=node.mempool.next_nonce(address, account.nonce),
        status=None if miner is None else miner.status,
        consensus_key=None if miner is None else miner.consensus_key,
        bond=0 if miner is None else miner.bond,
        tasks=tuple(_assigned(node, task) for task in queries.assigned_tasks(state, address)),
        commits=tuple(_open(node, commit) for commit in queries.open_commits(state, address)),
        syncing=status.syncing,
    )


def possession(node: NodeView, miner: Address) -> Possession:
    """This node's consensus key's word that it belongs to a miner, for the miner's registration."""
    signature = node.possession(miner)
    if signature is None or node.consensus_key is None:
        raise RpcFault(
            Code.NOT_FOUND,
            "this node has no consensus key: it verifies and does not vote",
            next_step="point the miner at a node with a consensus key (config: [keys] consensus)",
        )
    registered = queries.miner_of(node.state, node.consensus_key)
    if registered not in (None, miner):
        raise RpcFault(
            Code.REFUSED,
            "another miner is registered to this node's consensus key",
            code="CONSENSUS_KEY_TAKEN",
            next_step="one consensus key has one miner: run that one, or point this one at another node",
        )
    return Possession(node.consensus_key, signature)


def at_stake(node: NodeView, miner: bytes) -> int:
    """What the open commits of a miner put at stake of its bond."""
    commits = [queries.commit(node.state, commit) for commit in queries.open_commits(node.state, miner)]
    return sum(commit.stake for commit in commits if commit is not None)


def _units(node: NodeView, miner: Miner) -> int:
    if miner.status is MinerStatus.SLASHED:
        return 0
    first = max(0, node.status().epoch - node.genesis.params.averaging_window)
    return queries.weight(node.state, miner.consensus_key).since(first)


def _assigned(node: NodeView, task_id: bytes) -> AssignedTask:
    task, inputs = queries.task(node.state, task_id), queries.task_inputs(node.state, task_id)
    assert task is not None and inputs is not None, f"assigned task {task_id.hex()} has no record"
    return AssignedTask(task_id, task.model, task.rows, inputs, task.due - 1, task.payment)


def _open(node: NodeView, commit_id: bytes) -> OpenCommit:
    commit, params = queries.commit(node.state, commit_id), node.genesis.params
    assert commit is not None, f"open commit {commit_id.hex()} has no record"
    trained = queries.training_round(node.state, commit.commons_round)
    return OpenCommit(
        id=commit_id,
        root=commit.root,
        units=commit.units,
        height=commit.height,
        commons_round=commit.commons_round,
        commons_seed=None if trained is None else trained.seed,
        commons_step=0 if trained is None else trained.step,
        commons_start=commit.commons_start,
        commons_count=commit.commons_count,
        tasks=commit.tasks,
        beacon=queries.beacon(node.state, open_commits.beacon_height(commit.height, params=params)),
        due=open_commits.missing_at(commit.height, params=params) - 1,
        stake=commit.stake,
    )
