"""Catching up: final blocks from peers, and late states that certificates prove."""
