"""Why a connection was refused or ended: the peer's fault, said in one word and one sentence."""

from enum import IntEnum


class Fault(IntEnum):
    """Reasons, as numbered in a goodbye on the wire; never renumber."""

    SHUTTING_DOWN = 0
    WRONG_CHAIN = 1
    WRONG_VERSION = 2
    BANNED = 3
    FULL = 4
    DUPLICATE = 5
    """Another connection between the same two nodes is kept."""
    ITSELF = 6
    """The node dialed itself."""
    MALFORMED = 7
    TOO_LARGE = 8
    FLOOD = 9
    UNREQUESTED = 10
    """An answer to a question nobody asked."""
    SILENT = 11
    """Nothing was heard for too long."""
    CONNECTION_LOST = 12
    TIMED_OUT = 13

    @property
    def sentence(self) -> str:
        """The reason in lower case words."""
        return self.name.replace("_", " ").lower()


WEIGHTS = {
    Fault.MALFORMED: 50,
    Fault.TOO_LARGE: 50,
    Fault.FLOOD: 20,
    Fault.UNREQUESTED: 50,
}
"""Score that a fault costs; what is missing here costs nothing, for it may happen to the honest."""


class PeerFault(Exception):  # noqa: N818 - it names what the peer did
    """A peer broke a rule, or we part for a reason that both sides should know.

    Attributes:
        fault: The reason.
        detail: One sentence with the values.
    """

    def __init__(self, fault: Fault, detail: str) -> None:
        super().__init__(f"{fault.sentence}: {detail}")
        self.fault = fault
        self.detail = detail


def first_fault(group: BaseExceptionGroup[BaseException]) -> PeerFault:
    """The most telling fault of a group: a broken rule rather than the broken connection that follows it."""
    faults = []
    waiting: list[BaseException] = [group]
    while waiting:
        error = waiting.pop()
        if isinstance(error, BaseExceptionGroup):
            waiting.extend(error.exceptions)
        elif isinstance(error, PeerFault):
            faults.append(error)
    return min(faults, key=lambda fault: fault.fault is Fault.CONNECTION_LOST)
