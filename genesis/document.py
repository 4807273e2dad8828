"""The one file that a chain is made of: rules, first balances, first committee, models.

Whoever holds the same document is on the same chain: its digest is the first beacon, the parent of the first
block and the tag that peers compare before they talk. The file is JSON for people; the digest is over the
canonical record, so white space and the order of members do not matter, and anything unknown in it is an
error.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

from chain.address import AddressError, decode_address, encode_address
from chain.codec import U64, AtMost, Hash32, PublicKey, encode
from chain.execution.stakes import shards_item, stake_of
from chain.hashing import digest
from chain.json_text import read_json
from chain.types.committee import Committee, Validator
from chain.types.params import ChainParams
from genesis.commons import commons

FORMAT: Final = 1
MAX_FILE_BYTES: Final = 1 << 26

_T = TypeVar("_T")


class GenesisError(ValueError):
    """The file is not a genesis document; the message says where."""


@dataclass(frozen=True, slots=True)
class Balance:
    """Coins of one account at height 0."""

    account: PublicKey
    amount: U64


@dataclass(frozen=True, slots=True)
class GenesisDocument:
    """Everything that the nodes of a chain agree on before the first block."""

    params: ChainParams
    timestamp_ms: U64
    balances: Annotated[tuple[Balance, ...], AtMost(1 << 20)]
    """Strictly ascending by account."""
    committee: Committee
    """Votes until work takes over."""
    models: Annotated[tuple[Hash32, ...], AtMost(64)]
    """Digests of the models whose tasks the chain takes, strictly ascending."""
    commons_model: Hash32
    """The model that miners train when nobody pays."""

    def __post_init__(self) -> None:
        accounts = [balance.account for balance in self.balances]
        if any(low >= high for low, high in pairwise(accounts)):
            raise ValueError("balances are not strictly ascending by account")
        if any(low >= high for low, high in pairwise(self.models)):
            raise ValueError("models are not strictly ascending")
        if self.commons_model not in self.models:
            raise ValueError("the commons model is not among the models")
        if sum(balance.amount for balance in self.balances) >= 1 << 63:
            raise ValueError("the balances add up to 2**63 or more")

    @property
    def digest(self) -> bytes:
        """Names the chain."""
        return digest("headrace/genesis", encode(self))


def to_json(document: GenesisDocument) -> str:
    """The document as the text of its file."""
    prefix = document.params.address_prefix
    members = {
        "format": FORMAT,
        "timestamp_ms": document.timestamp_ms,
        "params": {field.name: getattr(document.params, field.name) for field in fields(ChainParams)},
        "models": [model.hex() for model in document.models],
        "commons_model": document.commons_model.hex(),
        "committee": [
            {
                "consensus_key": validator.consensus_key.hex(),
                "payout": encode_address(validator.payout, prefix=prefix),
                "seats": validator.seats,
            }
            for validator in document.committee.validators
        ],
        "balances": {
            encode_address(balance.account, prefix=prefix): balance.amount for balance in document.balances
        },
    }
    return json.dumps(members, indent=2) + "\n"


def from_json(text: str) -> GenesisDocument:
    """Read the text of a genesis file.

    Raises:
        GenesisError: With the path of the member that is missing, unknown or wrong.
    """
    try:
        top = read_json(text, object_pairs_hook=_without_repeats)
    except ValueError as error:
        raise GenesisError(f"not JSON: {error}") from None
    reader = _Reader("", top)
    if reader.member("format", _integer) != FORMAT:
        raise GenesisError(f"format: this version reads {FORMAT}")
    params = _params(reader.member("params", _object))
    prefix = params.address_prefix
    balances = [
        Balance(_address(f"balances.{text}", text, prefix), _integer(f"balances.{text}", amount))
        for text, amount in reader.member("balances", _object).items()
    ]
    committee = [
        _validator(f"committee[{index}]", item, prefix)
        for index, item in enumerate(reader.member("committee", _array))
    ]
    models = reader.member("models", _array)
    try:
        document = GenesisDocument(
            params=params,
            timestamp_ms=reader.member("timestamp_ms", _integer),
            balances=tuple(sorted(balances, key=lambda balance: balance.account)),
            committee=Committee(tuple(sorted(committee, key=lambda validator: validator.consensus_key))),
            models=tuple(sorted(_hash32(f"models[{index}]", item) for index, item in enumerate(models))),
            commons_model=reader.member("commons_model", _hash32),
        )
    except ValueError as error:
        raise error if isinstance(error, GenesisError) else GenesisError(str(error)) from None
    reader.finish()
    return document


def write_genesis(path: Path, document: GenesisDocument) -> None:
    """Write a genesis file; refuses to replace one."""
    with path.open("x", encoding="utf-8") as file:
        file.write(to_json(document))


def read_genesis(path: Path) -> GenesisDocument:
    """Read the genesis file of a chain to be run.

    Raises:
        GenesisError: What is wrong with it, beginning with its path; also when its least bond is too low for
            its commons.
        OSError: It cannot be read.
    """
    if path.stat().st_size > MAX_FILE_BYTES:
        raise GenesisError(f"{path}: larger than {MAX_FILE_BYTES} bytes")
    try:
        document = from_json(path.read_text(encoding="utf-8"))
        _check_bond(document)
        return document
    except (GenesisError, UnicodeDecodeError) as error:
        raise GenesisError(f"{path}: {error}") from None


def _check_bond(document: GenesisDocument) -> None:
    """Check that whoever has the least bond may commit to as many shards as the rules allow.

    Of a model that this version does not train nothing is known here; `genesis.registry` refuses it.
    """
    params = document.params
    learner = commons(params.commons_batch)
    if document.commons_model != learner.id or not params.max_commons_units:
        return
    item = shards_item(params.max_commons_units, params=params, commons=learner)
    least = stake_of([item], params=params)
    if params.min_bond < least:
        raise GenesisError(
            f"params.min_bond: {params.min_bond} is less than a commit of {params.max_commons_units} shards "
            f"puts at stake; the smallest sound min_bond is {least}"
        )


class _Reader:
    """Members of a JSON object, each read once; what is left over is an error."""

    def __init__(self, path: str, value: object) -> None:
        self._path = path
        self._left = dict(_object(path or "the document", value))

    def member(self, name: str, read: Callable[[str, Any], _T]) -> _T:
        path = f"{self._path}.{name}" if self._path else name
        if name not in self._left:
            raise GenesisError(f"{path}: missing")
        return read(path, self._left.pop(name))

    def finish(self) -> None:
        if self._left:
            raise GenesisError(f"{self._path or 'the document'}: unknown member {next(iter(self._left))!r}")


def _params(members: Mapping[str, Any]) -> ChainParams:
    reader = _Reader("params", members)
    values: dict[str, Any] = {}
    for field in fields(ChainParams):
        read: Callable[[str, Any], Any] = _text if field.name in ("chain_id", "address_prefix") else _integer
        values[field.name] = reader.member(field.name, read)
    reader.finish()
    try:
        params = ChainParams(**values)
        encode(params)
    except (ValueError, AssertionError) as error:
        # Writing the record checks the range of each field; here a range is the file's fault, not ours.
        raise GenesisError(f"params: {error}") from None
    return params


def _validator(path: str, value: object, prefix: str) -> Validator:
    reader = _Reader(path, value)
    validator = Validator(
        consensus_key=reader.member("consensus_key", _hash32),
        payout=_address(f"{path}.payout", reader.member("payout", _text), prefix),
        seats=reader.member("seats", _integer),
    )
    reader.finish()
    return validator


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member is there twice")
    return members


def _object(path: str, value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise GenesisError(f"{path}: {type(value).__name__} where an object was due")
    return value


def _array(path: str, value: object) -> list[Any]:
    if not isinstance(value, list):
        raise GenesisError(f"{path}: {type(value).__name__} where an array was due")
    return value


def _integer(path: str, value: object) -> int:
    if type(value) is not int or not 0 <= value < 1 << 64:
        raise GenesisError(f"{path}: {value!r} is not an integer in [0, 2**64)")
    return value


def _text(path: str, value: object) -> str:
    if not isinstance(value, str):
        raise GenesisError(f"{path}: {type(value).__name__} where text was due")
    return value


def _hash32(path: str, value: object) -> bytes:
    text = _text(path, value)
    try:
        raw = bytes.fromhex(text)
    except ValueError:
        raw = b""
    if len(raw) != 32 or raw.hex() != text:
        raise GenesisError(f"{path}: {text!r} is not 64 lower-case hex digits")
    return raw


def _address(path: str, text: str, prefix: str) -> bytes:
    try:
        return decode_address(text, prefix=prefix)
    except AddressError as error:
        raise GenesisError(f"{path}: {error}") from None
