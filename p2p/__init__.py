"""Bytes between peers: a hardened libp2p host behind the `Network` protocol, and its in-memory twin."""
