"""The containers that nodes agree on, one idea a file."""
