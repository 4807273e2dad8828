"""What a node's network is told at its start."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from p2p.addresses.multiaddrs import parse_endpoint, parse_peer_address
from p2p.identity import SEED_SIZE
from p2p.limits import Limits
from p2p.wire.control import CHAIN_TAG_SIZE, MAX_ADDRESSES


@dataclass(frozen=True, slots=True)
class NetworkConfig:
    """Settings of `open_network`; local to a node, never agreed between nodes.

    Attributes:
        identity_seed: 32 secret bytes (`p2p.identity.load_or_create_identity`).
        listen: Multiaddrs to listen on, like `/ip4/0.0.0.0/tcp/4001`; port 0 takes any free port.
        bootstrap: Multiaddrs with peer id of nodes to start from.
        chain_tag: 32 bytes, digest of the genesis document: only peers with the same one connect.
        advertise: Multiaddrs to tell others instead of `listen`, for a node behind a translated address.
        address_book: File that remembers peers across restarts, if any; `anchors.json` and `bans.json` lie
            beside it (`p2p.keepsakes`).
        limits: Bounds on memory, rates and patience.
        rng: Jitter in pauses between dials, and whom to dial next; no key comes from it.
        wall_clock: Seconds since 1970, for what outlives the process.

    Raises:
        ValueError: A field is malformed; the message names it.
    """

    identity_seed: bytes = field(repr=False)
    chain_tag: bytes
    listen: tuple[str, ...] = ("/ip4/127.0.0.1/tcp/0",)
    bootstrap: tuple[str, ...] = ()
    advertise: tuple[str, ...] = ()
    address_book: Path | None = None
    limits: Limits = field(default_factory=Limits)
    rng: random.Random = field(default_factory=random.SystemRandom)
    wall_clock: Callable[[], float] = time.time

    def __post_init__(self) -> None:
        if len(self.identity_seed) != SEED_SIZE:
            raise ValueError(f"identity_seed has {len(self.identity_seed)} bytes, expected {SEED_SIZE}")
        if len(self.chain_tag) != CHAIN_TAG_SIZE:
            raise ValueError(f"chain_tag has {len(self.chain_tag)} bytes, expected {CHAIN_TAG_SIZE}")
        for name, addresses in (("listen", self.listen), ("advertise", self.advertise)):
            if len(addresses) > MAX_ADDRESSES:
                raise ValueError(f"{name} has {len(addresses)} addresses, at most {MAX_ADDRESSES} fit")
            for address in addresses:
                parse_endpoint(address)
        for address in self.bootstrap:
            parse_peer_address(address)
