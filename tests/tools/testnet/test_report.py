"""What `testnet up` shows."""

import io
import json
from dataclasses import replace
from pathlib import Path

from chain.execution.records import MinerStatus
from tools.rpc.messages import CommitteeView, MinerView, SeatView, Status
from tools.testnet.plan import TestnetOptions, plan_testnet, port_count
from tools.testnet.record import record_of
from tools.testnet.report import Reporter
from tools.testnet.watch import Look, Target, status_line

KEYS = (b"\1" * 32, b"\2" * 32)
STATUS = Status(
    version="1", chain_id="c", genesis=bytes(32), height=63, block=bytes(32), state_root=bytes(32),
    timestamp_ms=1, lag_ms=412, epoch=1, epoch_last_height=80, view=70, base_fee=1, mempool=2, peers=1,
    validators=2, seats=64, consensus_key=KEYS[0], own_seats=40, syncing="",
)  # fmt: skip
COMMITTEE = CommitteeView(
    epoch=1, seats=64, quorum=43, from_genesis=False, largest_permille=625, to_halt=1,
    validators=(SeatView(KEYS[0], bytes(32), 40), SeatView(KEYS[1], bytes(32), 24)),
)  # fmt: skip
MINER = MinerView(
    address=bytes(32), consensus_key=KEYS[0], status=MinerStatus.ACTIVE, bond=1, at_stake=0, unbonds_at=0,
    open_commits=0, models=(), units=12_340_000, seats=40,
)  # fmt: skip
TARGETS = (
    Target("validator-0", "http://127.0.0.1:1", KEYS[0]),
    Target("validator-1", "http://127.0.0.1:2", KEYS[1]),
    Target("full-0", "http://127.0.0.1:3", None),
)
BEHIND = replace(STATUS, height=60, consensus_key=KEYS[1], own_seats=24)
ONLOOKER = replace(STATUS, consensus_key=None, own_seats=0)
LOOK = Look(tuple(zip(TARGETS, (BEHIND, STATUS, ONLOOKER), strict=True)), COMMITTEE, (MINER, MINER))


def test_one_line_tells_how_it_stands() -> None:
    assert status_line(LOOK, 3661.9) == (
        "01:01:01 | height 63 | final 0.4 s ago | "
        "epoch 1, committee from work, seats 40 24 | work 24.7 M units"
    )


def test_a_node_that_does_not_answer_shows_and_keeps_its_place() -> None:
    look = replace(LOOK, nodes=((TARGETS[0], None), *LOOK.nodes[1:]))
    assert "| 2/3 nodes answer | epoch 1, committee from work, seats 40 24 |" in status_line(look, 0)
    assert status_line(Look(tuple((target, None) for target in TARGETS)), 5) == "00:00:05 | no node answers"


def test_a_person_sees_accounts_keys_and_logs() -> None:
    options = TestnetOptions(validators=1)
    record = record_of(Path("/net"), plan_testnet(options, range(30000, 30000 + port_count(options))))
    out = io.StringIO()
    report = Reporter(out, as_json=False)
    report.begin(Path("/net"), "1")
    report.stage("nodes started", 0.04, "1 processes")
    report.ready(record, 4.26, Path("/net"))
    report.look(LOOK, 0.0)
    report.look(LOOK, 5.0)  # too soon after the last: no terminal, no line
    text = out.getvalue()
    assert text.startswith(
        "Headrace testnet, seed '1', in /net\n  nodes started           0.0 s  1 processes\n"
    )
    for needed in (
        record.accounts[0].address,
        record.accounts[0].key_file,
        "TEST keys",
        "http://127.0.0.1:30001",
    ):
        assert needed in text
    assert text.count("height 63") == 1


def test_a_program_reads_one_document_a_line() -> None:
    options = TestnetOptions(validators=1)
    record = record_of(Path("/net"), plan_testnet(options, range(30000, 30000 + port_count(options))))
    out = io.StringIO()
    report = Reporter(out, as_json=True)
    report.begin(Path("/net"), "1")
    report.ready(record, 4.26, Path("/net"))
    report.look(LOOK, 0.0)
    report.note("Ended.")
    documents = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [document["event"] for document in documents] == ["begin", "ready", "status", "note"]
    assert documents[1]["testnet"]["nodes"][0]["rpc"] == "http://127.0.0.1:30001"
    assert documents[2]["nodes"]["validator-0"]["height"] == 60
