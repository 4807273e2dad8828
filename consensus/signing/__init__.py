"""The consensus key, and what keeps it from contradicting itself."""
