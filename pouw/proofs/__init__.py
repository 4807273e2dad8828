"""Commits, draws, proofs and their check."""
