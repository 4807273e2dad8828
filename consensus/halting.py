"""Why a node stops rather than guess."""

from enum import Enum

from chain.database.interface import is_full


class HaltReason(Enum):
    """What is wrong with this machine, or with more than a third of the committee."""

    SAFETY_VIOLATED = "safety_violated"
    """Certificates contradict each other."""
    CERTIFIED_BLOCK_INVALID = "certified_block_invalid"
    """Two thirds made final what does not execute here."""
    DISK_FAILED = "disk_failed"
    """Nobody knows any more what is durable."""
    DISK_FULL = "disk_full"
    """The same, for want of room: it goes on once there is some."""
    KEY_IN_USE_ELSEWHERE = "key_in_use_elsewhere"
    """A vote of our key that we never signed: another process holds it."""


class Halted(Exception):  # noqa: N818 - reads as a sentence where it is caught
    """This machine is wrong, or cannot know that it is right."""

    def __init__(self, reason: HaltReason, message: str) -> None:
        super().__init__(f"{reason.value}: {message}")
        self.reason = reason


def disk_halt(error: Exception) -> Halted:
    """The end of a node whose signing log or database could not be written or read."""
    return Halted(HaltReason.DISK_FULL if is_full(error) else HaltReason.DISK_FAILED, str(error))
