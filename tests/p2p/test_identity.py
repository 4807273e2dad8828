"""The identity file."""

from pathlib import Path
from typing import Any

import pytest

from p2p.config import NetworkConfig
from p2p.identity import UnusableIdentityError, load_or_create_identity, peer_id_of


def test_an_identity_is_made_once_and_only_ours_to_read(tmp_path: Path) -> None:
    path = tmp_path / "identity"
    seed = load_or_create_identity(path)
    assert len(seed) == 32
    assert path.stat().st_mode & 0o777 == 0o600
    assert load_or_create_identity(path) == seed
    assert list(tmp_path.iterdir()) == [path]


def test_the_same_seed_is_the_same_peer() -> None:
    assert peer_id_of(bytes(32)) == "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN"


@pytest.mark.parametrize("content", [b"", bytes(31), bytes(33)])
def test_a_file_of_the_wrong_size_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "identity"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(UnusableIdentityError, match="does not hold exactly 32 bytes"):
        load_or_create_identity(path)


def test_a_file_that_others_may_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "identity"
    path.write_bytes(bytes(32))
    path.chmod(0o640)
    with pytest.raises(UnusableIdentityError, match="mode 0640, expected 0600"):
        load_or_create_identity(path)


def test_a_malformed_config_names_its_field() -> None:
    good: dict[str, Any] = {"identity_seed": bytes(32), "chain_tag": bytes(32)}
    for field, value, message in (
        ("identity_seed", bytes(31), "identity_seed has 31 bytes"),
        ("chain_tag", b"", "chain_tag has 0 bytes"),
        ("listen", ("127.0.0.1:1",), "is not /ip4/HOST/tcp/PORT"),
        ("listen", ("/ip4/127.0.0.1/tcp/0",) * 5, "listen has 5 addresses, at most 4 fit"),
        ("bootstrap", ("/ip4/127.0.0.1/tcp/1",), "does not end in /p2p/PEER_ID"),
    ):
        with pytest.raises(ValueError, match=message):
            NetworkConfig(**{**good, field: value})
    assert "identity_seed" not in repr(NetworkConfig(**good))
