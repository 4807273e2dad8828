"""Exact useful work and its proofs: integer programs, traces, commitments and cell-by-cell checks."""
