"""A node: network, consensus, ledger, mempool and store, put together."""
