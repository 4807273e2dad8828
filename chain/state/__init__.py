"""The authenticated state: an immutable Merkle tree over key-value pairs, and proofs against its root."""
