"""A whole network on one machine: separate processes, keys from a seed, faults on demand."""
