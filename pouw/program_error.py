"""Why a program, a shape or a model description cannot be built."""

from enum import IntEnum


class ProgramReason(IntEnum):
    """One code per rule that a program can break."""

    SHAPE = 1
    """Rows, columns or operand shapes that do not fit."""
    DTYPE = 2
    """An operand of a type the op does not take."""
    RANGE = 3
    """A value could leave its type: the program is not exact."""
    NAME = 4
    """A tensor named twice, or used before it exists."""
    EMPTY = 5
    """No op, or no unit of work."""
    CONSTANT = 6
    """A multiplier, shift, clamp or table outside its bounds."""
    WEIGHT = 7
    """A weight that is not the one the model names."""


class ProgramError(ValueError):
    """A program that must not run.

    Args:
        reason: the rule that was broken.
        message: a sentence with both values.
    """

    def __init__(self, reason: ProgramReason, message: str) -> None:
        super().__init__(message)
        self.reason = reason
