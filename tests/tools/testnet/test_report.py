"""What `testnet up` shows."""

import io
import json
from dataclasses import replace
from pathlib import Path

from tools.rpc.messages import CommitteeView, SeatView, Status
from tools.testnet.plan import TestnetOptions, plan_testnet, port_count
from tools.testnet.record import record_of
from tools.testnet.report import Reporter
from tools.testnet.watch import Look, NodeLook, status_line

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
BEHIND = replace(STATUS, height=60, consensus_key=KEYS[1], own_seats=24)
LOOK = Look((NodeLook("validator-0", STATUS, COMMITTEE), NodeLook("validator-1", BEHIND, COMMITTEE)))


def test_one_line_tells_how_it_stands() -> None:
    assert status_line(LOOK, 3661.9) == (
        "01:01:01 | height 63 | final 0.4 s ago | epoch 1, committee from work, seats 40 24 | mempool 2"
    )


def test_a_node_that_does_not_answer_shows() -> None:
    look = Look((LOOK.nodes[0], NodeLook("validator-1", None, None)))
    assert "1/2 nodes answer" in status_line(look, 0)
    assert status_line(Look((look.nodes[1],)), 5) == "00:00:05 | no node answers"


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
    assert documents[2]["nodes"]["validator-1"]["height"] == 60
