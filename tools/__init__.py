"""The programs people run: the `headrace` command, node, miner and testnet."""
