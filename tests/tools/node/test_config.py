"""A node's settings: what is wrong with one is said by its name in the file."""

from pathlib import Path
from typing import Any

import pytest

from tools.node.config import ConfigError, config_from

WRONG: list[tuple[dict[str, Any], str]] = [
    ({}, "genesis: missing"),
    ({"genesis": "g", "colour": "red"}, "colour: unknown setting"),
    ({"genesis": "g", "rpc": {"colour": "red"}}, r"rpc\.colour: unknown setting"),
    ({"genesis": "g", "p2p": {"listen": "/ip4/0.0.0.0/tcp/1"}}, r"p2p\.listen: .* is not a list"),
    ({"genesis": "g", "p2p": {"listen": []}}, r"p2p\.listen: name at least 1 multiaddress"),
    ({"genesis": "g", "rpc": {"port": 65536}}, r"rpc\.port: 65536 is not a port"),
    ({"genesis": "g", "rpc": {"port": True}}, r"rpc\.port: True is not a port"),
    ({"genesis": "g", "log": {"level": "loud"}}, r"log\.level: 'loud' is none of"),
]


@pytest.mark.parametrize(("document", "complaint"), WRONG)
def test_a_wrong_setting_is_refused_by_its_name(document: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        config_from(document, base=Path())
