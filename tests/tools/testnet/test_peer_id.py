"""Our peer ids against libp2p's own."""

from hypothesis import given, settings
from hypothesis import strategies as st
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.peer.id import ID

from tools.testnet.peer_id import base58, peer_id


@settings(max_examples=20)
@given(st.binary(min_size=32, max_size=32))
def test_libp2p_gives_the_same_name(seed: bytes) -> None:
    public = create_new_key_pair(seed).public_key
    assert peer_id(public.to_bytes()) == str(ID.from_pubkey(public))


def test_leading_zeros_are_kept() -> None:
    assert (base58(b""), base58(b"\0"), base58(b"\0\0\x01")) == ("", "1", "112")
