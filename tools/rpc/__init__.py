"""The node's local interface: JSON-RPC 2.0 over HTTP, from the bytes on the socket to the ledger."""
