"""A `BasicHost` stripped to what is needed, and guarded where a peer's bytes meet its tasks."""

import logging
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

from libp2p import new_swarm
from libp2p.abc import INetStream
from libp2p.crypto.keys import KeyPair
from libp2p.crypto.x25519 import create_new_key_pair as create_noise_key_pair
from libp2p.host.basic_host import BasicHost
from libp2p.host.ping import ID as PING
from libp2p.host.ping import PingService
from libp2p.identity.identify.identify import ID as IDENTIFY
from libp2p.identity.identify.identify import identify_handler_for
from libp2p.network.config import ConnectionConfig, RetryConfig
from libp2p.network.swarm import Swarm
from libp2p.security.noise.transport import PROTOCOL_ID as NOISE
from libp2p.security.noise.transport import Transport as NoiseTransport
from libp2p.stream_muxer.yamux.yamux import PROTOCOL_ID as YAMUX
from libp2p.transport.tcp.tcp import TCP
from multiaddr import Multiaddr

from p2p.hardening.yamux import BoundedYamux

log = logging.getLogger(__name__)

NEGOTIATION_SECONDS = 5
"""Patience with a peer that negotiates security, multiplexer or a stream's protocol."""


def build_host(
    key_pair: KeyPair, *, addresses: Callable[[], Sequence[Multiaddr]], max_connections: int
) -> BasicHost:
    """A host with noise, yamux, identify and ping, and nothing that acts on its own.

    Args:
        key_pair: The node's ed25519 identity.
        addresses: What identify tells about our listen addresses, asked each time.
        max_connections: Connections of all kinds together.
    """
    swarm = build_noise_only_swarm(key_pair, max_connections)
    host = BasicHost(
        swarm,
        default_protocols=OrderedDict(),
        negotiate_timeout=NEGOTIATION_SECONDS,
        addrs_factory=lambda _: list(addresses()),
        disable_identify_address_discovery=True,
    )
    host.set_stream_handler(IDENTIFY, identify_handler_for(host))
    host.set_stream_handler(PING, PingService(host).handle_ping)
    silence_background_work(swarm)
    guard_stream_handlers(swarm)
    return host


def build_noise_only_swarm(key_pair: KeyPair, max_connections: int) -> Swarm:
    """A swarm that talks noise and nothing else.

    Cures: by default the host also accepts `/plaintext/2.0.0`, with which anybody may claim any peer id, and
    `/secio/1.0.0`. Cures: the automatic resource manager refuses peers by rates that are not ours.
    """
    noise = NoiseTransport(key_pair, noise_privkey=create_noise_key_pair().private_key)
    config = ConnectionConfig(
        max_connections=max_connections,
        min_connections=0,
        low_watermark=0,
        high_watermark=max_connections,
        # Duplicates are resolved after the handshake by a rule both sides share; the library closes either.
        max_connections_per_peer=max_connections,
        inbound_upgrade_timeout=NEGOTIATION_SECONDS,
        outbound_upgrade_timeout=NEGOTIATION_SECONDS,
        inbound_stream_protocol_negotiation_timeout=NEGOTIATION_SECONDS,
    )
    swarm: Swarm = new_swarm(
        key_pair=key_pair,
        sec_opt={NOISE: noise},
        muxer_opt={YAMUX: BoundedYamux},
        transports=[TCP()],
        connection_config=config,
        retry_config=RetryConfig(max_retries=0),
    )
    swarm.set_resource_manager(None)
    return swarm


def silence_background_work(swarm: Swarm) -> None:
    """Turn off what the host does unasked.

    Cures: identify is run on every new connection and its result kept for ever; the automatic connector
    remembers every peer that ever disconnected, without bound, and dials on its own.
    """
    for notifee in list(swarm.notifees):
        swarm.remove_notifee(notifee)
    swarm.auto_connector = _NoAutoConnector()


def guard_stream_handlers(swarm: Swarm) -> None:
    """Keep whatever a stream handler raises from ending the node.

    Cures: an exception that leaves any stream handler travelled up through the connection and the swarm and
    ended `host.run`. With a stranger's bytes in the handlers this was a remote kill.
    """
    handle = swarm.common_stream_handler

    async def guarded(stream: INetStream) -> None:
        try:
            await handle(stream)
        except Exception as error:  # noqa: BLE001 - a peer's stream must end alone, whatever its handler raised
            peer, protocol = stream.muxed_conn.peer_id, stream.get_protocol()
            log.info("event=stream_failed peer=%s protocol=%s error=%r", peer, protocol, error)
            await stream.reset()

    swarm.set_stream_handler(guarded)


class _NoAutoConnector:
    """Stands in for the library's connector; we dial ourselves (`p2p.peers.dialer`)."""

    async def start(self) -> None:
        """Nothing to start."""

    async def stop(self) -> None:
        """Nothing to stop."""

    async def run_background_task(self, nursery: Any) -> None:
        """No task."""

    async def maybe_connect(self) -> None:
        """Never."""

    def record_disconnect(self, peer_id: object) -> None:
        """Forget it."""
