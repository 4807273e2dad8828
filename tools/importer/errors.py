"""Why a model folder cannot be imported."""

from enum import IntEnum


class ImportReason(IntEnum):
    """One code per rule that a folder can break."""

    MISSING = 1
    """A file, a field or a tensor that is not there."""
    MALFORMED = 2
    """Bytes that are not what the format says."""
    OVERSIZE = 3
    """A size beyond what is read."""
    SHAPE = 4
    """A tensor of another shape than the configuration says."""
    UNSUPPORTED = 5
    """A model that is well described, but of a kind that is not known here."""


class ModelImportError(ValueError):
    """A folder that is not a model that can be imported.

    Args:
        reason: the rule that was broken.
        message: a sentence with both values.
        next_step: what helps, where it is known better than the reason alone says.
    """

    def __init__(self, reason: ImportReason, message: str, *, next_step: str = "") -> None:
        super().__init__(f"{reason.name}: {message}")
        self.reason = reason
        self.next_step = next_step
