"""Ties this node's peers to the keys that vote: who they are is the chain's business, the rest is `p2p`'s."""

from collections.abc import Callable
from pathlib import Path

from chain.crypto import ed25519
from chain.store import BlockStore
from chain.types.params import ChainParams
from p2p.libp2p_network import Libp2pNetwork
from p2p.peers.committee_links import CommitteeLinks, LinkRules, committee_file
from p2p.peers.credentials import make_credential


def committee_links(
    network: Libp2pNetwork,
    store: BlockStore,
    params: ChainParams,
    *,
    consensus: ed25519.SecretKey | None,
    chain_tag: bytes,
    address_book: Path,
    now_ms: Callable[[], int],
) -> CommitteeLinks:
    """The committee links of a node; with a consensus key it says which peer it is."""
    own = None
    if consensus is not None:
        # No vote and no proposal: nothing that the signing log would have to hold (`p2p.peers.credentials`).
        own = make_credential(
            consensus.sign,
            key=consensus.public_key,
            chain_tag=chain_tag,
            serial=now_ms(),
            peer=network.local_id,
            addresses=network.told_addresses,
        )
    rules = LinkRules(chain_tag, ed25519.verify, holders=lambda: voting_keys(store, params))
    return CommitteeLinks(network, rules, keep=network.keep, own=own, path=committee_file(address_book))


def voting_keys(store: BlockStore, params: ChainParams) -> frozenset[bytes]:
    """Consensus keys with seats in the epoch of the next height, and in the one after if it is decided."""
    epoch = params.epoch_of(store.head.height + 1)
    committees = [store.committee(number) for number in (epoch, epoch + 1)]
    return frozenset(
        validator.consensus_key
        for committee in committees
        if committee is not None
        for validator in committee.validators
    )
