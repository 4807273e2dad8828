"""Loops compiled by numba, which nothing else of the package meets; see `pouw/README.md`, "Backends"."""
