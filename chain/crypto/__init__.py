"""Signatures, verifiable randomness and key files: the only code that touches PyNaCl."""
