"""Cures for what py-libp2p 0.8.1 does under attack, one named function or class per symptom."""
