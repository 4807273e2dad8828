"""What a node refuses before it opens anything."""

from dataclasses import replace

import pytest

from genesis.document import GenesisError
from tests.tools.node.chain_maker import genesis
from tools.node.run import check_frames

LARGE = {"max_block_bytes": 3 << 20, "target_block_weight": 4 << 20}


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"max_block_bytes": 5 << 20}, "max_block_bytes"),
        ({**LARGE, "max_transaction_bytes": 2 << 20}, "max_transaction_bytes"),
    ],
)
def test_a_chain_that_peers_cannot_carry_is_refused(changes: dict[str, int], name: str):
    document = genesis()
    with pytest.raises(GenesisError, match=rf"params\.{name}: .* this version carries at most"):
        check_frames(replace(document, params=replace(document.params, **changes)))


def test_a_large_block_that_fits_is_taken():
    document = genesis()
    check_frames(replace(document, params=replace(document.params, **LARGE)))
