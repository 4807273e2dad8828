"""How a command fails: an exit code that scripts can rely on, a code, a sentence, and what to do next."""

import enum


class Exit(enum.IntEnum):
    """Exit codes; they are interface."""

    OK = 0
    ERROR = 1
    USAGE = 2
    UNREACHABLE = 3
    """No node answers."""
    REFUSED = 4
    """Refused for safety: going on could lose a key or coins."""
    DISK = 5
    """This machine's disk is full, or failed."""
    INTERRUPTED = 130


class CliError(Exception):
    """A command that did not do what it was asked for."""

    def __init__(self, message: str, *, code: str, next_step: str, exit_code: Exit = Exit.ERROR) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.next_step = next_step
        self.exit_code = exit_code
