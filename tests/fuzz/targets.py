"""Every decoder that meets bytes from outside, by name; every name has a canary too."""

from typing import Final

from tests.fuzz.check_targets import CHECKS
from tests.fuzz.client_targets import CLIENTS
from tests.fuzz.file_targets import FILES
from tests.fuzz.peer_targets import PEERS
from tests.fuzz.target import Target

TARGETS: Final[dict[str, Target]] = PEERS | CLIENTS | FILES | CHECKS
