"""Models on disk as integers, and asking them on this machine."""
