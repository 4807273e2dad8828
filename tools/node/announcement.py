"""What a node tells every listener, libp2p clients of any kind included, when a block becomes final."""

from dataclasses import dataclass

from chain.types.block import Header
from consensus.messages import Certificate


@dataclass(frozen=True, slots=True)
class Announcement:
    """A final header and the certificate that proves it to whoever knows the committee."""

    header: Header
    certificate: Certificate
