"""What one operator decides for one node; nothing here changes the rules of a chain."""

import tomllib
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any, Final

from consensus.watch import WATCHED_HEIGHTS
from tools.node.disk import RoomRule, size_of
from tools.node.pruning import PruneRule

MAX_FILE_BYTES: Final = 1 << 20
LOG_LEVELS: Final = ("debug", "info", "warning", "error")
STATE_SYNC: Final = ("auto", "always", "never")


class ConfigError(ValueError):
    """The configuration file is wrong; the message names the setting and what to write there."""


@dataclass(frozen=True, slots=True)
class NodeConfig:
    """Settings of a node. Relative paths are seen from the folder of the file they stand in."""

    genesis: Path
    """The genesis document."""
    moniker: str = "node"
    """Name in logs and status pages."""
    data_dir: Path = Path("data")
    """Everything that the node writes: database, signing log, address book."""
    listen: tuple[str, ...] = ("/ip4/127.0.0.1/tcp/26656",)
    """Multiaddresses to accept peers on."""
    bootstrap: tuple[str, ...] = ()
    """Multiaddresses of peers to start from, each with its peer id."""
    advertise: tuple[str, ...] = ()
    """Multiaddresses to tell others instead, for a node behind a translated address, and for a validator that
    listens on `0.0.0.0`: its consensus key signs them, so that nobody can send others astray."""
    rpc_host: str = "127.0.0.1"
    rpc_port: int = 26657
    """0 takes a free port; it is printed and written to `rpc.addr` in the data folder."""
    consensus_key: Path | None = None
    """Encrypted key file. Without one the node verifies everything and votes on nothing."""
    peer_key: Path | None = None
    """Encrypted key file of the peer identity; without one, one is made in the data folder."""
    password_file: Path | None = None
    """Password of the key files; without one it is asked for."""
    watch_heights: int = WATCHED_HEIGHTS
    """Heights to watch for a second holder of the consensus key before it signs, after a long absence or a
    move; after a short one a moment is enough. 0: sign at once, whoever else may hold the key."""
    log_level: str = "info"
    state_sync: str = "auto"
    """Whether a node without a chain begins with a late state: `auto` if the chain is long, `always` or
    `never`."""
    prune: str = ""
    """Blocks to keep, like `5000`, or bytes on disk to stay below, like `2GB`; empty keeps everything."""
    reserve: str = "512MB"
    """With less room than this on the disk, like `2GB`, the node warns in its log and status."""
    floor: str = "128MB"
    """With less room than this it stops in order, and does not start: what it has begun needs some. `0MB`:
    only a write that fails stops it."""

    @property
    def room(self) -> RoomRule:
        """How much room there is to be on the disk."""
        return RoomRule(reserve=size_of(self.reserve) or 0, floor=size_of(self.floor) or 0)


# Setting -> (table in the file, name in the table); the file groups by concern, the code is flat.
_PLACES: Final[dict[str, tuple[str, str]]] = {
    "genesis": ("", "genesis"),
    "moniker": ("", "moniker"),
    "data_dir": ("", "data_dir"),
    "listen": ("p2p", "listen"),
    "bootstrap": ("p2p", "bootstrap"),
    "advertise": ("p2p", "advertise"),
    "rpc_host": ("rpc", "host"),
    "rpc_port": ("rpc", "port"),
    "consensus_key": ("keys", "consensus"),
    "peer_key": ("keys", "peer"),
    "password_file": ("keys", "password_file"),
    "watch_heights": ("consensus", "watch_heights"),
    "log_level": ("log", "level"),
    "state_sync": ("storage", "state_sync"),
    "prune": ("storage", "prune"),
    "reserve": ("storage", "reserve"),
    "floor": ("storage", "floor"),
}

_CHOICES: Final = {"log_level": LOG_LEVELS, "state_sync": STATE_SYNC}

_RANGES: Final = {"rpc_port": ("a port", 65535), "watch_heights": ("a number of heights", 10_000)}


def read_config(path: Path) -> NodeConfig:
    """Read a node's TOML file.

    Raises:
        ConfigError: A setting is unknown, missing or of another type.
        OSError: The file cannot be read.
    """
    if path.stat().st_size > MAX_FILE_BYTES:
        raise ConfigError(f"{path}: larger than {MAX_FILE_BYTES} bytes")
    try:
        top = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from None
    try:
        return config_from(top, base=path.parent)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def config_from(top: dict[str, Any], *, base: Path) -> NodeConfig:
    """Settings from parsed TOML; `base` is what relative paths are seen from."""
    tables = {"": {name: value for name, value in top.items() if not isinstance(value, dict)}}
    tables |= {name: dict(value) for name, value in top.items() if isinstance(value, dict)}
    values: dict[str, Any] = {}
    for setting in fields(NodeConfig):
        table, name = _PLACES[setting.name]
        where = f"{table}.{name}" if table else name
        if name in tables.get(table, {}):
            values[setting.name] = _converted(where, setting.name, tables[table].pop(name), base)
        elif setting.default is MISSING:
            raise ConfigError(f"{where}: missing")
        elif isinstance(setting.default, Path):
            values[setting.name] = base / setting.default
    for table, left in tables.items():
        for name in left:
            raise ConfigError(f"{table}.{name}: unknown setting" if table else f"{name}: unknown setting")
    config = NodeConfig(**values)
    if config.room.floor > config.room.reserve:
        raise ConfigError(f"storage.floor: {config.floor} is more than the reserve of {config.reserve}")
    return config


def _converted(where: str, setting: str, value: Any, base: Path) -> Any:
    if setting in ("genesis", "data_dir", "consensus_key", "peer_key", "password_file"):
        return base / _text(where, value)
    if setting in ("listen", "bootstrap", "advertise"):
        return _addresses(where, value, least=1 if setting == "listen" else 0)
    if setting in _RANGES:
        what, limit = _RANGES[setting]
        if type(value) is not int or not 0 <= value <= limit:
            raise ConfigError(f"{where}: {value!r} is not {what} (0 to {limit})")
        return value
    if setting in _CHOICES and value not in _CHOICES[setting]:
        raise ConfigError(f"{where}: {value!r} is none of {', '.join(_CHOICES[setting])}")
    if setting == "prune":
        try:
            PruneRule.parse(_text(where, value))
        except ValueError as error:
            raise ConfigError(f"{where}: {error}") from None
    if setting in ("reserve", "floor") and size_of(_text(where, value)) is None:
        raise ConfigError(f"{where}: {value!r} is no size like 500MB")
    return _text(where, value)


def _addresses(where: str, value: Any, *, least: int) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise ConfigError(f"{where}: {value!r} is not a list of multiaddresses")
    if len(value) < least:
        raise ConfigError(f"{where}: name at least {least} multiaddress, such as /ip4/127.0.0.1/tcp/0")
    return tuple(_text(where, item) for item in value)


def _text(where: str, value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ConfigError(f"{where}: {value!r} is not a text")
    return value
