"""The ordered key-value store under the chain: one interface, one in memory, one on disk."""
