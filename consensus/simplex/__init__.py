"""The protocol of one epoch as a pure step."""
