"""The genesis file: what is written reads back, what is wrong is named."""

import json

import pytest

from chain.execution.stakes import shards_item, stake_of
from chain.types.committee import Committee
from genesis.commons import commons
from genesis.document import GenesisError, from_json, read_genesis, to_json, write_genesis
from genesis.presets import COIN, LOCAL_PARAMS, local_testnet_genesis

DOCUMENT = local_testnet_genesis(
    validators=[(bytes([i]) * 32, bytes([i + 16]) * 32) for i in range(1, 4)],
    balances={bytes([i + 16]) * 32: 1000 * COIN for i in range(1, 4)},
    timestamp_ms=1_700_000_000_000,
)


def _changed(**members: object) -> str:
    return json.dumps({**json.loads(to_json(DOCUMENT)), **members})


def test_reads_back_what_was_written(tmp_path):
    path = tmp_path / "genesis.json"
    write_genesis(path, DOCUMENT)
    assert read_genesis(path) == DOCUMENT
    assert read_genesis(path).digest == DOCUMENT.digest


def test_refuses_to_replace_a_file(tmp_path):
    path = tmp_path / "genesis.json"
    write_genesis(path, DOCUMENT)
    with pytest.raises(FileExistsError):
        write_genesis(path, DOCUMENT)


def test_order_and_white_space_do_not_change_the_digest():
    members = json.loads(to_json(DOCUMENT))
    shuffled = json.dumps(dict(reversed(members.items())), indent=7)
    assert from_json(shuffled).digest == DOCUMENT.digest


def test_every_parameter_changes_the_digest():
    members = json.loads(to_json(DOCUMENT))
    for name, value in members["params"].items():
        other = f"{value}x" if isinstance(value, str) else value + 1
        if name == "address_prefix":
            continue  # it changes the addresses too, which the file would have to follow
        changed = from_json(_changed(params={**members["params"], name: other}))
        assert changed.digest != DOCUMENT.digest, name


def test_the_first_committee_shares_its_seats_evenly():
    assert [validator.seats for validator in DOCUMENT.committee.validators] == [22, 21, 21]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not JSON: Expecting value: line 1 column 1 (char 0)"),
        ("[]", "the document: list where an object was due"),
        ('{"format": 1, "format": 1}', "not JSON: a member is there twice"),
        (_changed(format=2), "format: this version reads 1"),
        (_changed(extra=1), "the document: unknown member 'extra'"),
        (_changed(timestamp_ms=-1), "timestamp_ms: -1 is not an integer in [0, 2**64)"),
        (_changed(timestamp_ms=True), "timestamp_ms: True is not an integer in [0, 2**64)"),
        (_changed(committee=[]), "a committee needs a validator"),
        (_changed(models=["00"]), "models[0]: '00' is not 64 lower-case hex digits"),
        (_changed(models=[]), "the commons model is not among the models"),
    ],
)
def test_names_what_is_wrong(text, message):
    with pytest.raises(GenesisError) as caught:
        from_json(text)
    assert str(caught.value) == message


def test_names_a_wrong_parameter():
    params = json.loads(to_json(DOCUMENT))["params"]
    with pytest.raises(GenesisError, match="params: epoch_length must be positive"):
        from_json(_changed(params={**params, "epoch_length": 0}))
    with pytest.raises(GenesisError, match=r"params.samples: '9' is not an integer"):
        from_json(_changed(params={**params, "samples": "9"}))
    del params["samples"]
    with pytest.raises(GenesisError, match=r"params.samples: missing"):
        from_json(_changed(params=params))


def test_a_committee_that_shares_a_key_is_refused():
    twice = json.loads(to_json(DOCUMENT))["committee"][:1] * 2
    with pytest.raises(GenesisError, match="consensus keys are not strictly ascending"):
        from_json(_changed(committee=twice))
    assert isinstance(DOCUMENT.committee, Committee)


def _stake_of_shards(count: int) -> int:
    item = shards_item(count, params=LOCAL_PARAMS, commons=commons(LOCAL_PARAMS.commons_batch))
    return stake_of([item], params=LOCAL_PARAMS)


def test_the_least_bond_must_cover_a_whole_commit_of_the_commons(tmp_path):
    least = _stake_of_shards(LOCAL_PARAMS.max_commons_units)
    path = tmp_path / "genesis.json"
    params = json.loads(to_json(DOCUMENT))["params"]
    path.write_text(_changed(params={**params, "min_bond": least}))
    assert read_genesis(path).params.min_bond == least
    path.write_text(_changed(params={**params, "min_bond": least - 1}))
    with pytest.raises(GenesisError) as caught:
        read_genesis(path)
    assert str(caught.value) == (
        f"{path}: params.min_bond: {least - 1} is less than a commit of "
        f"{LOCAL_PARAMS.max_commons_units} shards puts at stake; the smallest sound min_bond is {least}"
    )


def test_on_a_local_testnet_the_least_bond_covers_all_open_commits():
    assert (
        LOCAL_PARAMS.max_open_commits * _stake_of_shards(LOCAL_PARAMS.max_commons_units)
        < LOCAL_PARAMS.min_bond
    )
