"""What `testnet up` shows: lines for a person, or JSON lines for a program."""

import json
import shutil
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Final, TextIO

from tools.rpc.messages import Status
from tools.testnet.record import TestnetRecord
from tools.testnet.watch import Look, status_line

QUIET_PERIOD_S: Final = 10.0
"""Seconds between status lines where no terminal shows them in place."""


class Reporter:
    """Writes progress to a stream: text, or one JSON document a line with the member `event`."""

    def __init__(self, out: TextIO = sys.stdout, *, as_json: bool) -> None:
        self._out = out
        self._as_json = as_json
        self._moving = out.isatty() and not as_json
        self._line_open = False
        self._spoke = float("-inf")

    def begin(self, folder: Path, seed: str) -> None:
        """The testnet is about to be made."""
        self._emit(
            f"Headrace testnet, seed {seed!r}, in {folder}", event="begin", folder=str(folder), seed=seed
        )

    def stage(self, name: str, seconds: float, detail: str = "") -> None:
        """A part of the start is done."""
        self._emit(
            f"  {name:<22}{seconds:5.1f} s  {detail}".rstrip(), event="stage", stage=name, seconds=seconds
        )

    def ready(self, record: TestnetRecord, seconds: float, folder: Path) -> None:
        """Everything runs; who can be spoken to, and with which keys."""
        if self._as_json:
            self._emit("", event="ready", seconds=seconds, testnet=asdict(record))
            return
        self._emit(f"Ready after {seconds:.1f} s.\n")
        self._emit(
            "Accounts (well-known TEST keys: the seed gives them to anybody; never use them for value)"
        )
        for account in record.accounts:
            self._emit(f"  {account.name:<6} {account.address}  {account.coins} coins  {account.key_file}")
        self._emit(f"  the password of all of them is in {record.accounts[0].password_file}")
        self._emit("Nodes")
        for node in record.nodes:
            self._emit(f"  {node.name:<12} {node.rpc}  {node.log}")
        self._emit("Miners")
        for miner in record.miners:
            self._emit(f"  {miner.name:<12} duty {miner.duty:g}, for {miner.node}  {miner.log}")
        program, place = headrace_program(), f"--testnet {folder}"
        self._emit("Try, in another terminal")
        self._emit(f"  {program} task submit {place} --key alice --digits 0,5,17 --check")
        self._emit(f"  {program} status {place}")
        self._emit(f"  {program} testnet kill validator-2")
        self._emit(f"For programs: {folder / 'testnet.json'}")
        self._emit("To end it: Ctrl-C, or `headrace testnet down`\n")

    def look(self, look: Look, elapsed_s: float) -> None:
        """How the testnet stands; on a terminal the line replaces the one before."""
        if self._moving:
            width = shutil.get_terminal_size().columns - 1
            self._out.write("\r\x1b[K" + status_line(look, elapsed_s)[:width])
            self._out.flush()
            self._line_open = True
        elif elapsed_s - self._spoke >= QUIET_PERIOD_S:
            self._spoke = elapsed_s
            self._emit(status_line(look, elapsed_s), event="status", elapsed=elapsed_s, **summary(look))

    def note(self, text: str, **members: object) -> None:
        """Something happened that a person should know."""
        self._emit(text, event="note", text=text, **members)

    def _emit(self, text: str, /, **document: object) -> None:
        if self._line_open:
            self._out.write("\n")
            self._line_open = False
        line = json.dumps(document) if self._as_json else text
        if line:
            self._out.write(line + "\n")
            self._out.flush()


def headrace_program() -> str:
    """How our own command is called here: by its name if the shell finds it, else by its path."""
    return "headrace" if shutil.which("headrace") else str(Path(sys.executable).with_name("headrace"))


def summary(look: Look) -> dict[str, object]:
    """A look as plain values."""
    return {
        "height": look.height,
        "answering": len(look.statuses),
        "from_genesis": None if look.committee is None else look.committee.from_genesis,
        "units": sum(miner.units for miner in look.miners),
        "nodes": {
            target.name: None if status is None else node_summary(status) for target, status in look.nodes
        },
    }


def node_summary(status: Status) -> dict[str, object]:
    """One node's status as plain values."""
    return {
        "height": status.height,
        "state_root": status.state_root.hex(),
        "lag_ms": status.lag_ms,
        "peers": status.peers,
        "epoch": status.epoch,
        "seats": status.own_seats,
        "syncing": status.syncing,
    }
