"""Keeps a node connected to the peers of the keys that vote, whoever else crowds around it.

Every node with a consensus key signs which peer it is (`credentials`). Nodes ask each other for what they
know of this, check it, and hand the peers of the committee's keys to `Libp2pNetwork.keep`: these are dialed
before all others and need no place. So an attacker who fills a node's places and its address book cannot come
between it and the committee; he would have to hold its keys.

Only credentials of keys in the committee are taken, so memory and work are bounded by it: one signature is
checked per key and serial. What was learned is kept in `committee.json` and checked again when it is read.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import trio

from p2p import files
from p2p.network import MAX_RESPONSE, Network, PeerId, RequestFailed
from p2p.peers.credentials import MAX_CREDENTIAL, Credential, Verify, decode_credentials
from p2p.wire.faults import WEIGHTS, Fault, PeerFault

log = logging.getLogger(__name__)

METHOD: Final = "p2p/committee/1"
"""Request: the digest of what the asker has, 32 bytes. Answer: all credentials, nothing if it is the same."""

FILE: Final = "committee.json"

MAX_CREDENTIALS: Final = 1024
"""As many as there can be seats."""

ASKING_SECONDS: Final = 30.0
"""Pause before the same peer is asked again."""

TICK_SECONDS: Final = 1.0
ANSWER_SECONDS: Final = 5.0
ASKED_AT_ONCE: Final = 4

Keep = Callable[[Mapping[PeerId, tuple[str, ...]]], None]


@dataclass(frozen=True, slots=True)
class LinkRules:
    """What the chain says about committee links.

    Attributes:
        chain_tag: Digest of the genesis document.
        verify: The chain's rule for signatures.
        holders: Keys that vote now or next; asked once a second.
    """

    chain_tag: bytes
    verify: Verify
    holders: Callable[[], frozenset[bytes]]


class CommitteeLinks:
    """Learns which peers speak for the committee, tells others, and has them kept."""

    def __init__(
        self, network: Network, rules: LinkRules, *, keep: Keep, own: Credential | None, path: Path | None
    ) -> None:
        """`own` is this node's credential if it votes, `path` a file to remember the others in."""
        self._network = network
        self._rules = rules
        self._keep = keep
        self._own = own
        self._path = path
        self._holders: frozenset[bytes] = frozenset()
        self._known: dict[bytes, Credential] = {} if own is None else {own.key: own}
        self._asked: dict[PeerId, float] = {}
        self._kept: dict[PeerId, tuple[str, ...]] | None = None
        self._unsaved = False
        self._own_thread = trio.CapacityLimiter(1)
        """Links to the committee must not wait for what keeps other threads busy."""

    @property
    def known(self) -> tuple[Credential, ...]:
        """Credentials of the committee's keys, by key."""
        return tuple(self._known[key] for key in sorted(self._known.keys() & self._holders))

    async def run(self) -> None:
        """Ask, answer and keep for ever."""
        self._network.set_handler(METHOD, self._answer, limit=32)
        self._follow_committee()
        if self._path is not None:
            for credential in files.load(self._path, _from_document) or ():
                self._learn(credential)
            self._unsaved = False
        while True:
            self._follow_committee()
            self._pass_on()
            if self._path is not None and self._unsaved:
                self._unsaved = False
                document = _to_document(self.known)
                await trio.to_thread.run_sync(files.try_save, self._path, document, limiter=self._own_thread)
            async with trio.open_nursery() as nursery:
                for peer in self._to_ask():
                    nursery.start_soon(self._ask, peer)
            await trio.sleep(TICK_SECONDS)

    def _follow_committee(self) -> None:
        holders = self._rules.holders()
        if holders == self._holders:
            return
        self._holders = holders
        for key in self._known.keys() - holders:
            if self._own is None or key != self._own.key:
                del self._known[key]
                self._unsaved = True
        # Whoever said nothing new of the old committee may know more of this one.
        self._asked.clear()

    def _pass_on(self) -> None:
        members: dict[PeerId, tuple[str, ...]] = {}
        for credential in self.known:
            if credential.peer != self._network.local_id:
                # A key may name another's peer: what it says is added, and takes nothing away.
                addresses = (*members.get(credential.peer, ()), *credential.addresses)
                members[credential.peer] = tuple(dict.fromkeys(addresses))
        if members != self._kept:
            self._kept = members
            log.info("event=committee_links known=%d of=%d", len(members), len(self._holders))
            self._keep(members)

    def _to_ask(self) -> list[PeerId]:
        now = trio.current_time()
        peers = self._network.peers()
        self._asked = {peer: at for peer, at in self._asked.items() if peer in peers}
        due = [peer for peer in peers if now >= self._asked.get(peer, float("-inf")) + ASKING_SECONDS]
        return sorted(due, key=lambda peer: (self._asked.get(peer, float("-inf")), peer))[:ASKED_AT_ONCE]

    async def _ask(self, peer: PeerId) -> None:
        self._asked[peer] = trio.current_time()
        limit = min(MAX_CREDENTIALS * MAX_CREDENTIAL, MAX_RESPONSE)
        try:
            answer = await self._network.request(
                peer, METHOD, self._digest(), timeout=ANSWER_SECONDS, limit=limit
            )
            for credential in decode_credentials(answer, limit=MAX_CREDENTIALS):
                if not self._learn(credential):
                    raise PeerFault(Fault.MALFORMED, f"a credential {credential.key.hex()} did not sign")
        except RequestFailed as failed:
            log.debug("event=committee_not_told peer=%s reason=%s", peer, failed)
        except PeerFault as fault:
            self._network.report(peer, str(fault), weight=WEIGHTS[Fault.MALFORMED])

    def _learn(self, credential: Credential) -> bool:
        """Take a credential in if it is news; False if it is forged."""
        known = self._known.get(credential.key)
        is_own = self._own is not None and credential.key == self._own.key
        if is_own or credential.key not in self._holders:
            return True
        if known is not None and known.serial >= credential.serial:
            return True
        if not credential.is_signed(self._rules.chain_tag, self._rules.verify):
            return False
        self._known[credential.key] = credential
        self._unsaved = True
        return True

    async def _answer(self, _peer: PeerId, payload: bytes) -> bytes:
        await trio.lowlevel.checkpoint()
        if payload == self._digest():
            return b""
        return b"".join(credential.encode() for credential in self.known)

    def _digest(self) -> bytes:
        names = (credential.key + credential.serial.to_bytes(8, "big") for credential in self.known)
        return sha256(b"".join(names)).digest()


def _to_document(credentials: tuple[Credential, ...]) -> dict[str, Any]:
    return {"version": 1, "credentials": [credential.encode().hex() for credential in credentials]}


def _from_document(document: dict[str, Any]) -> tuple[Credential, ...]:
    if document.get("version") != 1:
        raise ValueError(f"version {document.get('version')!r}, expected 1")
    data = b"".join(bytes.fromhex(text) for text in document["credentials"])
    try:
        return decode_credentials(data, limit=MAX_CREDENTIALS)
    except PeerFault as fault:
        raise ValueError(str(fault)) from None


def committee_file(address_book: Path) -> Path:
    """Where committee links are remembered: beside the address book."""
    return address_book.with_name(FILE)
