"""Twenty flipped bits: each is harmless, or found and healed; and the campaign would notice if not."""

from types import SimpleNamespace

import plyvel
import pytest

from tests.tools.node.flips import Outcome, campaign


async def test_twenty_flipped_bits_are_found_and_healed(tmp_path, autojump_clock):
    outcomes = await campaign(tmp_path, 20)
    assert outcomes.total() == 20
    assert outcomes[Outcome.AT_START] + outcomes[Outcome.WHILE_READING] + outcomes[Outcome.SHORTER] >= 10


async def test_a_node_that_trusts_its_disk_is_found_out(tmp_path, autojump_clock, monkeypatch):
    """The canary: without checksums a changed value is served, and the campaign says so."""

    class Trusting:
        def __init__(self, *arguments, **options):
            self._database = plyvel.DB(*arguments, **(options | {"paranoid_checks": False}))

        def __getattr__(self, name):
            return getattr(self._database, name)

        def get(self, key, **_):
            return self._database.get(key)

        def iterator(self, *, verify_checksums, **options):
            return self._database.iterator(**options)

    monkeypatch.setattr(
        "chain.database.leveldb.plyvel",
        SimpleNamespace(DB=Trusting, Error=plyvel.Error, CorruptionError=plyvel.CorruptionError),
    )
    monkeypatch.setattr("chain.store.BlockStore.check", lambda *_, **__: None)
    monkeypatch.setattr("tests.tools.node.flips.check_whole", lambda *_, **__: None)
    with pytest.raises((AssertionError, ValueError)):
        await campaign(tmp_path, 40)
