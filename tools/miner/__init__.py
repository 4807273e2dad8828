"""The miner: a process of its own that does the work a node hands it and sends back commits and proofs."""
